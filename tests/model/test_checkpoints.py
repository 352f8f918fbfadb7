from __future__ import annotations

import functools
import io
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import oahier as oh
from oahier.model.checkpoints import CheckpointError
from oahier.testing import TinyEncoder, tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

VOLUME = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))


def _save(model: oh.HierarchicalClassifier, folder: Path) -> Path:
    """A checkpoint as Lightning writes it, without training."""
    trainer = tiny_trainer(folder)
    trainer.strategy.connect(model)
    path = folder / "model.ckpt"
    trainer.save_checkpoint(path)
    return path


def _assert_same(first: nn.Module, second: nn.Module) -> None:
    with torch.no_grad():
        expected, found = first.eval()(VOLUME), second.eval()(VOLUME)
    assert list(expected) == list(found)
    for name in expected:
        assert torch.equal(expected[name], found[name])


class Plain(nn.Module):
    """A module of a user's that knows nothing of this package."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, channels, 3, stride=4)

    def forward(self, volume: Tensor) -> Tensor:
        return self.convolution(volume)


ENCODERS: dict[str, Any] = {
    "ours": lambda: oh.ResNet3D(10, 8, norm="group"),
    "timm3d": lambda: "timm3d/resnet10t",
    "monai": lambda: "monai/resnet10",
    "plain": lambda: oh.make(Plain, channels=3),
    "wrapped": lambda: oh.PlainEncoder(oh.make(Plain, channels=3), num_features=3),
    "spec": lambda: {"class_path": f"{__name__}.Plain", "init_args": {"channels": 3}},
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_round_trip_without_arguments(kind: str, tmp_path: Path) -> None:
    heads = {"oa": oh.SoftmaxHead(2, reads="kl"), "kl": oh.SoftmaxHead(5, label_smoothing=0.1)}
    model = oh.HierarchicalClassifier(ENCODERS[kind](), heads)
    path = _save(model, tmp_path)
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(path)
    _assert_same(model, loaded)
    assert loaded.specification == model.specification
    assert loaded.heads["kl"].label_smoothing == 0.1
    assert _save(loaded, tmp_path / "again").is_file()


def test_everything_but_weights_is_plain(tmp_path: Path) -> None:
    model = tiny_model(
        loss_weights=oh.UncertaintyWeights(),
        optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        lr_scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2),
    )
    data = tiny_dataloader(tiny_batches(2))
    trainer = tiny_trainer(tmp_path)
    trainer.fit(model, data, data)
    trainer.save_checkpoint(tmp_path / "fitted.ckpt")
    stored = torch.load(tmp_path / "fitted.ckpt", weights_only=True)["hyper_parameters"]
    assert stored == model.specification
    assert stored["optimizer"] == {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    assert stored["loss_weights"]["class_path"] == "oahier.UncertaintyWeights"
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "fitted.ckpt")
    _assert_same(model, loaded)
    for name, value in model.weighting.state_dict().items():
        assert torch.equal(loaded.weighting.state_dict()[name], value)
    assert loaded.configure_optimizers()["lr_scheduler"]["scheduler"].step_size == 2


def test_trainer_restores_with_plain_weights_only(tmp_path: Path) -> None:
    model = tiny_model()
    data = tiny_dataloader(tiny_batches(2))
    trainer = tiny_trainer(tmp_path, enable_checkpointing=True)
    trainer.fit(model, data, data)
    fresh = tiny_model()
    tiny_trainer(tmp_path, enable_checkpointing=True).test(
        fresh, data, ckpt_path=trainer.checkpoint_callback.best_model_path, verbose=False
    )
    _assert_same(model, fresh)


HEAD = """
import oahier as oh
from torch.nn import functional as F

class SquaredHead(oh.Head):
    def __init__(self, num_classes, scale, **options):
        super().__init__(num_classes, **options)
        self.scale = scale

    def row_losses(self, logits, labels):
        return self.scale * (logits - F.one_hot(labels, self.num_classes)).square().mean(dim=1)

    def log_probabilities(self, logits):
        return logits.log_softmax(dim=1)
"""


def test_head_of_another_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebody_elses_heads.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    from somebody_elses_heads import SquaredHead

    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": SquaredHead(5, scale=0.5, probe=True)})
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(_save(model, tmp_path))
    assert type(loaded.heads["kl"]) is SquaredHead
    assert loaded.heads["kl"].scale == 0.5
    assert loaded.heads["kl"].probe
    _assert_same(model, loaded)


def test_part_that_does_not_remember_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = oh.HierarchicalClassifier(Plain(2), {"oa": oh.BinaryHead()})
    data = tiny_dataloader(tiny_batches(1))
    trainer = tiny_trainer(tmp_path)
    with caplog.at_level(logging.WARNING, logger="oahier"):
        trainer.fit(model, data, data)
    assert "the encoder of this HierarchicalClassifier does not remember how it was made" in caplog.text
    path = tmp_path / "forgotten.ckpt"
    trainer.save_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"load_from_checkpoint\(path, encoder=\.\.\.\)"):
        oh.HierarchicalClassifier.load_from_checkpoint(path)
    _assert_same(model, oh.HierarchicalClassifier.load_from_checkpoint(path, encoder=Plain(2)))


def test_arguments_replace_those_of_the_checkpoint(tmp_path: Path) -> None:
    path = _save(tiny_model(), tmp_path)
    sgd = functools.partial(torch.optim.SGD, lr=0.3)
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(path, optimizer=sgd)
    assert loaded.configure_optimizers().param_groups[0]["lr"] == 0.3


def test_another_architecture(tmp_path: Path) -> None:
    path = _save(tiny_model(), tmp_path)
    message = (
        "its weights do not fit this HierarchicalClassifier: .*size mismatch .*Load it without arguments"
    )
    with pytest.raises(CheckpointError, match=message):
        oh.HierarchicalClassifier.load_from_checkpoint(path, encoder=TinyEncoder(width=8))
    with pytest.raises(CheckpointError, match=r"Unexpected key.*heads\.kl"):
        oh.HierarchicalClassifier.load_from_checkpoint(path, heads={"oa": oh.BinaryHead()})


class Trap:
    """Something that runs code when it is unpickled."""

    ran = False

    def __reduce__(self) -> Any:
        return _spring, ()


def _spring() -> None:
    Trap.ran = True


@pytest.mark.parametrize("place", ["hyper_parameters", "state_dict", "callbacks"])
def test_pickled_code_is_refused(place: str, tmp_path: Path) -> None:
    path = _save(tiny_model(), tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint.setdefault(place, {})["trap"] = Trap()
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match="holds pickled objects, which could run code when loaded"):
        oh.HierarchicalClassifier.load_from_checkpoint(path)
    assert not Trap.ran


def test_named_code_is_refused(tmp_path: Path) -> None:
    path = _save(tiny_model(), tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    trap = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(tmp_path / "sprung")]}}
    for part in ("encoder", "loss_weights", "optimizer", "lr_scheduler"):
        torch.save({**checkpoint, "hyper_parameters": {**checkpoint["hyper_parameters"], part: trap}}, path)
        with pytest.raises(CheckpointError, match=r"expected a subclass of .*, got Popen"):
            oh.HierarchicalClassifier.load_from_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: no such file"):
        oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file(share: float, tmp_path: Path) -> None:
    path = _save(tiny_model(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.ckpt: not a file of plain weights; it is damaged"):
        oh.HierarchicalClassifier.load_from_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"knee,subject,mri\n", b"\x00" * 64, pickle.dumps({"a": 1}), pickle.dumps([1])],
    ids=["text", "zeros", "pickle", "list"],
)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"other\.ckpt: (not a file of plain weights|expected a Lightning)"
    ):
        oh.HierarchicalClassifier.load_from_checkpoint(path)


def test_other_archives(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="not a file of plain weights"):
        oh.HierarchicalClassifier.load_from_checkpoint(path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_with_words(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"not a file of plain weights|expected a Lightning checkpoint"):
        oh.HierarchicalClassifier.load_from_checkpoint(io.BytesIO(content))


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"model": 1}, "expected a Lightning checkpoint with a 'state_dict'"),
        (nn.Linear(1, 1).state_dict(), "expected a Lightning checkpoint with a 'state_dict'"),
        ({"state_dict": {}}, "it does not say how to rebuild the model"),
        ({"state_dict": {}, "hyper_parameters": {"lr": 1.0}}, "it does not say how to rebuild the model"),
        ({"state_dict": {}, "hyper_parameters": [1]}, "it does not say how to rebuild the model"),
    ],
)
def test_checkpoints_of_others(checkpoint: Any, message: str, tmp_path: Path) -> None:
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=message):
        oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "other.ckpt")


def test_open_file_loads(tmp_path: Path) -> None:
    model = tiny_model()
    content = io.BytesIO(_save(model, tmp_path).read_bytes())
    _assert_same(model, oh.HierarchicalClassifier.load_from_checkpoint(content))
