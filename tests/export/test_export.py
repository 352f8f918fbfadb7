"""Exported models say what the checkpoint says, in files that need no trust and no oahier."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import safetensors.torch
import torch
from google.protobuf.message import EncodeError
from torch import Tensor, nn

import oahier as oh
from oahier.cli import main
from oahier.export import ExportError, Inference, export_checkpoint, load_weights
from oahier.export.agreement import check_agreement
from oahier.export.inference import trial_volumes
from oahier.export.programs import packed_onnx, packed_program, trace

SHAPE = (16, 24, 24)
HEADS = {"oa": oh.BinaryHead, "kl": oh.SoftmaxHead}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a trained checkpoint and test figures."""
    folder = tmp_path_factory.mktemp("export")
    manifest = oh.make_phantoms(folder / "phantoms", knees=20, shape=SHAPE, progress=False)
    data = oh.KneeMRIDataModule(manifest, shape=SHAPE, cache=folder / "cache")
    model = oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {name: make() for name, make in HEADS.items()})
    trainer = L.Trainer(
        max_epochs=1, default_root_dir=folder / "run", accelerator="cpu", logger=False,
        callbacks=[oh.OrdinalMetrics(), oh.SeverityAxis()], enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "run" / "checkpoints" / "best.ckpt")
    checkpoint = folder / "run" / "checkpoints" / "best.ckpt"
    trainer.test(model, data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    return folder / "run"


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert main(["export", str(run / "checkpoints" / "best.ckpt"), str(folder)]) == 0
    return folder


def expected(run: Path, mri: Tensor) -> dict[str, Tensor]:
    model = oh.HierarchicalClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt").eval()
    with torch.no_grad():
        logits = model(mri)
    return {"probability_kl": logits["kl"].softmax(1), "probability_oa_yes": logits["oa"][:, 0].sigmoid()}


def test_every_format_says_what_the_checkpoint_says(run: Path, exported: Path) -> None:
    import onnxruntime

    mri = trial_volumes(SHAPE, 5, seed=99)
    wanted = expected(run, mri)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    onnx = dict(zip(names, map(torch.from_numpy, session.run(None, {"mri": mri.numpy()})), strict=True))
    program = torch.export.load(exported / "model.pt2").module()(mri)
    with torch.no_grad():
        weights = Inference(load_weights(exported))(mri)
    for found in (onnx, program, weights):
        assert set(found) == {"probability_kl", "severity_kl", "probability_oa", "severity_oa", "embedding"}
        torch.testing.assert_close(found["probability_kl"], wanted["probability_kl"], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            found["probability_oa"][:, 1], wanted["probability_oa_yes"], atol=1e-5, rtol=0
        )
    assert (exported / "model.safetensors").read_bytes()[:1] != b"\x80"  # no pickle


def test_an_export_without_the_packages_of_onnx_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "onnxruntime" else find(name, *rest)
    )
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["export", best, str(tmp_path / "plain")]) == 0
    assert {path.name for path in (tmp_path / "plain").iterdir()} >= {"model.safetensors", "model.pt2"}
    assert not (tmp_path / "plain" / "model.onnx").exists()
    assert "No ONNX file: onnxruntime not installed (pip install 'oahier[export]')" in capsys.readouterr().out


def test_the_card_says_what_was_measured(run: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((run / "metrics.json").read_text())
    auc = metrics["metrics"]["test/oa/auc"]
    assert f"| oa | AUC | {auc:.3f} |" in card
    assert "not a medical device" in card
    assert re.search(r"\| knees \| \d+ \| \d+ \| \d+ \|", card)
    assert "16, 24, 24" in card
    facts = json.loads((exported / "export.json").read_text())
    assert max(max(row.values()) for row in facts["largest_difference"].values()) < 1e-4
    assert set(facts["largest_difference"]) == {"model.safetensors", "model.pt2", "model.onnx"}


def test_a_card_without_a_test_claims_nothing(run: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.ckpt"
    lone.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    export_checkpoint(lone, tmp_path / "out", formats=["safetensors"])
    assert "nothing is claimed" in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / "model.onnx").exists()


ENCODERS: dict[str, Callable[[], nn.Module | str]] = {
    "m3t": lambda: oh.M3T(channels=4, width=16, depth=1, heads=2),
    "nnmamba": lambda: oh.NnMamba(channels=8, blocks=1),
    "timm3d": lambda: "timm3d/resnet18",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_every_backbone_can_be_exported(name: str) -> None:
    """With any number of knees in a batch, and in few nodes: a scan is one loop."""
    torch.manual_seed(0)
    model = oh.HierarchicalClassifier(ENCODERS[name](), {key: make() for key, make in HEADS.items()})
    inference, shape = Inference(model), (32, 32, 32)
    trials = [trial_volumes(shape, count) for count in (1, 2)]
    program = trace(inference, trials[1])
    assert packed_program(program, inference, trials).agreement.largest < 1e-5
    assert packed_onnx(program, inference, trials).agreement.largest < 1e-5
    assert len(list(program.graph.nodes)) < 3000


class Uneven(oh.PlainEncoder):
    """Chooses by value, which no program can hold."""

    def embed(self, features: tuple[Tensor, ...]) -> Tensor:
        embedding = super().embed(features)
        return embedding if embedding.sum() > 0 else -embedding


def test_a_model_that_cannot_be_traced_says_why() -> None:
    encoder = Uneven(nn.Conv3d(1, 4, 3, padding=1))
    inference = Inference(oh.HierarchicalClassifier(encoder, {"kl": oh.SoftmaxHead()}))
    with pytest.raises(ExportError, match=r"torch.export cannot follow this model.*choose their way"):
        trace(inference, trial_volumes(SHAPE, 2))


def test_outputs_that_differ_are_not_kept() -> None:
    inference = Inference(oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {"kl": oh.SoftmaxHead()}))
    mri = [trial_volumes(SHAPE, 2)]

    def other(volumes: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            outputs = inference(volumes)
        return {**outputs, "severity_kl": outputs["severity_kl"] + 0.01}

    with pytest.raises(ExportError, match=r"severity_kl differs by 0.01"):
        check_agreement("ours", inference, other, mri)
    with pytest.raises(ExportError, match="expected outputs"):
        check_agreement("ours", inference, lambda _: {}, mri)


@pytest.mark.parametrize("damaged", ["safetensors", "onnx"])
def test_an_earlier_export_stays_where_a_new_one_differs(
    damaged: str, run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written before every file is compared, or new weights would lie beside an old card."""
    shutil.copytree(exported, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    checkpoint = tmp_path / "other.ckpt"
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"]["heads.kl.projection.bias"] += 0.5
    torch.save(content, checkpoint)
    if damaged == "safetensors":
        save = safetensors.torch.save

        def rounded(state: dict[str, Tensor], **options: object) -> bytes:
            return save({key: value.round() for key, value in state.items()}, **options)

        monkeypatch.setattr(safetensors.torch, "save", rounded)
    else:
        monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: None)
    message = r"safetensors: .* nothing was written" if damaged == "safetensors" else "returned nothing"
    with pytest.raises(ExportError, match=message):
        export_checkpoint(checkpoint, tmp_path / "out", ["safetensors", damaged], overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_an_earlier_export_is_replaced_whole_and_only_if_told(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A card may have been completed by hand; files of two models in one folder would be confused."""
    shutil.copytree(exported, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "README.md").write_text("completed")
    words = [
        "export",
        str(run / "checkpoints" / "best.ckpt"),
        str(tmp_path / "out"),
        "--formats",
        "[safetensors]",
    ]
    assert main(words) == 2
    assert "README.md is there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "README.md").read_text() == "completed"
    assert main([*words, "--overwrite"]) == 0
    names = {"README.md", "export.json", "model.json", "model.safetensors", "notes.txt"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert "completed" not in (tmp_path / "out" / "README.md").read_text()


def test_a_model_too_large_for_onnx_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    inference = Inference(oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {"kl": oh.SoftmaxHead()}))
    trials = [trial_volumes(SHAPE, 2)]
    program = trace(inference, trials[0])
    message = r"ONNX holds at most 2 GiB in one file.*leave it out: --formats \[safetensors,program\]"

    class Refusing:
        def SerializeToString(self) -> bytes:
            raise EncodeError("Failed to serialize proto")

    made = SimpleNamespace(model_proto=Refusing())
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: made)
    with pytest.raises(ExportError, match=message):
        packed_onnx(program, inference, trials)
    monkeypatch.setattr("oahier.export.programs.ONNX_BYTES", 1000)
    with pytest.raises(ExportError, match=message):
        packed_onnx(program, inference, trials)


def test_bad_input(run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    with pytest.raises(ValueError, match="formats: expected some of safetensors"):
        export_checkpoint(checkpoint, tmp_path, formats=[])
    assert main(["export", str(tmp_path / "no.ckpt"), str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err
    with pytest.raises(ExportError, match=r"missing file model\.json"):
        load_weights(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("model.json", "model.safetensors"):
        (broken / name).write_bytes((exported / name).read_bytes()[:-200])
    with pytest.raises(ExportError, match="cannot be rebuilt"):
        load_weights(broken)
    (broken / "model.json").write_bytes((exported / "model.json").read_bytes())
    with pytest.raises(ExportError, match="cannot be rebuilt"):
        load_weights(broken)
