"""A model that goes to the hub and comes back, with a folder in the place of the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

import oahier as oh
from oahier.export import load_weights, pull_from_hub, push_to_hub
from oahier.model import CheckpointError
from oahier.prediction.trained import load_trained

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    manifest = oh.make_phantoms(folder / "phantoms", knees=12, shape=(12, 16, 16), progress=False)
    data = oh.KneeMRIDataModule(manifest, shape=(12, 16, 16), cache=folder / "cache")
    model = oh.HierarchicalClassifier(oh.ResNet3D(10, 8, norm="group"), {"kl": oh.SoftmaxHead()})
    trainer = L.Trainer(
        max_epochs=1, default_root_dir=folder, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_train_batches=1, limit_val_batches=1,
        log_every_n_steps=1, callbacks=[oh.SeverityAxis()],
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the hub's own functions are pointed to; whatever else they would ask for fails."""
    remote = tmp_path / "remote"

    def create_repo(self: Any, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        (remote / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        (remote / "private").write_text(str(private))
        return f"https://hub/{repo_id}"

    def upload_folder(
        self: Any, *, repo_id: str, folder_path: Path, commit_message: str, allow_patterns: list[str]
    ) -> None:
        for name in allow_patterns:
            shutil.copy(Path(folder_path) / name, remote / repo_id / name)

    def snapshot_download(repo_id: str, *, local_dir: Path | None, **_: Any) -> str:
        shutil.copytree(remote / repo_id, local_dir or tmp_path / "cache")
        return str(local_dir or tmp_path / "cache")

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return remote


def test_there_and_back(checkpoint: Path, remote: Path, tmp_path: Path) -> None:
    """The same weights and preprocessing by all three ways, and no knee or subject in any file."""
    assert push_to_hub(checkpoint, "group/knees") == "https://hub/group/knees"
    assert (remote / "private").read_text() == "True"
    folder = pull_from_hub("group/knees", folder=tmp_path / "here")
    assert folder == tmp_path / "here"
    original, trained = load_trained(checkpoint), load_trained(folder / "model.ckpt")
    assert trained.preprocessing == original.preprocessing
    assert trained.summary == original.summary
    again = oh.HierarchicalClassifier.load_from_checkpoint(folder / "model.ckpt")
    for model in (trained.model, again, load_weights(folder)):
        for name, value in original.model.state_dict().items():
            assert torch.equal(model.state_dict()[name], value)
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)["KneeMRIDataModule"]
    ids = [one for kind in ("splits", "subjects") for found in content[kind].values() for one in found]
    assert len(ids) > 12
    written = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not [one for one in ids if one.encode() in written]


def test_another_repository_is_named(remote: Path) -> None:
    (remote / "group" / "other").mkdir(parents=True)
    (remote / "group" / "other" / "README.md").write_text("something else")
    with pytest.raises(CheckpointError, match=r"group/other: expected model.ckpt .* found \['README.md'\]"):
        pull_from_hub("group/other")


def test_what_we_call_is_what_the_hub_has() -> None:
    """The functions above stand for these, by name and arguments."""
    import inspect

    assert {"private", "exist_ok"} <= set(inspect.signature(hub.HfApi.create_repo).parameters)
    uploading = inspect.signature(hub.HfApi.upload_folder).parameters
    assert {"repo_id", "folder_path", "commit_message", "allow_patterns"} <= set(uploading)
    downloading = inspect.signature(hub.snapshot_download).parameters
    assert {"revision", "local_dir", "token", "allow_patterns", "library_name"} <= set(downloading)
