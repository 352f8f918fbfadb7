"""The command line, through its front door."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import oahier as oh
from oahier.cli import main

KNEES = [f"knee-{index:02d}" for index in range(10)]
"""The training knees of the manifest."""

HEAD = """
from torch.nn import functional as F
import torch
import oahier as oh

class SquaredHead(oh.Head):
    def __init__(self, num_classes: int = 5, sharpness: float = 1.0):
        super().__init__(num_classes)
        self.sharpness = sharpness

    def row_losses(self, logits, labels):
        return F.cross_entropy(self.sharpness * logits, labels, reduction="none")

    def log_probabilities(self, logits):
        return F.log_softmax(self.sharpness * logits, dim=1)
"""


def test_fit_then_test_then_predict(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["fit", f"--config={config}", "--model.encoder.init_args.width=16"]
    assert main([*words, "--trainer.enable_model_summary=true"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"encoder +│ ResNet3D +│ +902 K", printed)
    assert re.search(r"903 K parameters; 3\.\d+ MB", printed)
    assert "FLOPs" not in printed, "which Lightning calls 0"
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["model"]["encoder"]["init_args"] == {
        "depth": 10, "width": 16, "norm": "group", "shortcut": "projection"
    }  # fmt: skip
    assert len(resolved["data"]["spacing"]) == 3, "the spacing that was found travels with the run"

    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["optimizer"]["class_path"] == "torch.optim.AdamW"
    model = oh.HierarchicalClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    assert model.encoder.num_features == 128

    capsys.readouterr()
    assert main(["test", f"--config={run / 'config.yaml'}"]) == 0
    printed = capsys.readouterr().out
    assert "Results on the test split" in printed
    assert "predictions.csv" in printed
    assert (run / "test.yaml").is_file()
    assert (run / "predictions.csv").read_text().count("\n") == 1 + 5
    assert "epoch 1 of 1" in (run / "log.txt").read_text()

    manifest, out = str(config.parent / "knees.csv"), tmp_path / "out"
    words = ["predict", str(run / "checkpoints" / "best.ckpt"), manifest, f"--output={out}", "--no-pages"]
    capsys.readouterr()
    assert main(words) == 0
    assert (out / "predictions.csv").read_text().count("\n") == 1 + 20
    printed = capsys.readouterr().out
    assert "Predictions (research use only)" in printed
    assert "trained without SeverityAxis" in printed
    assert len(list((out / "overlays").glob("*.nii.gz"))) == 20


def test_fit_keeps_its_knees_for_prediction(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With SeverityAxis, new knees have a place among the training knees, seen as prediction sees them."""
    axis = [
        "--trainer.callbacks+=oahier.callbacks.SeverityAxis",
        "--trainer.callbacks.figure_every_n_epochs=0",
    ]
    assert main(["fit", f"--config={config}", *axis]) == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert checkpoint.with_name("best.reference.pt").is_file()
    manifest, out = config.parent / "knees.csv", tmp_path / "out"
    options = [f"--output={out}", "--no-pages", "--no-overlays"]
    assert main(["predict", str(checkpoint), str(manifest), *options]) == 0
    with (out / "predictions.csv").open(newline="") as file:
        rows = {row["knee"]: row for row in csv.DictReader(file)}
    kept = torch.load(checkpoint.with_name("best.reference.pt"), weights_only=True)["reference"]
    assert kept["origin"] == "evaluation"
    assert kept["embeddings"].shape[0] == 10
    found = np.load(out / "embeddings.npz")
    training = torch.from_numpy(found["embedding"][[name in KNEES for name in found["knee"]]])
    assert torch.cdist(training, kept["embeddings"]).amin(dim=1).max() < 1e-4, "the same embeddings"
    assert float(rows["knee-00"]["ood_p"]) > 0


def test_lightnings_predict_is_gone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command starts from a checkpoint and scans; the old form says how the new one goes."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", f"--config={config}"])
    assert ended.value.code == 2
    assert "CHECKPOINT" in capsys.readouterr().err


def test_an_interrupted_run_resumes(config: Path, tmp_path: Path) -> None:
    assert main(["fit", f"--config={config}"]) == 0
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert main(["fit", f"--config={config}", "--trainer.max_epochs=3", f"--ckpt_path={last}"]) == 0
    assert torch.load(last, weights_only=True)["epoch"] == 2


def test_a_configuration_without_a_checkpoint_keeps_the_last_epoch(config: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text(yaml.safe_dump({"trainer": {"callbacks": [{"class_path": "oahier.OrdinalMetrics"}]}}))
    words = ["fit", f"--config={config}", f"--config={bare}"]
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert main(words) == 0
    assert torch.load(last, weights_only=True)["epoch"] == 0
    assert main([*words, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0
    assert torch.load(last, weights_only=True)["epoch"] == 1
    assert main(["test", f"--config={tmp_path / 'run' / 'config.yaml'}", "--ckpt_path=last"]) == 0


def test_a_run_without_a_best_epoch_names_its_last(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", f"--config={config}"]) == 0
    checkpoints = config.parent / "run" / "checkpoints"
    (checkpoints / "best.ckpt").unlink()
    assert main(["test", f"--config={config}"]) == 2
    assert f"--ckpt_path {checkpoints / 'last.ckpt'}" in capsys.readouterr().err


def test_untrained_weights_are_not_evaluated(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", f"--config={config}"]) == 2
    assert "train first" in capsys.readouterr().err
    assert main(["test", f"--config={config}", "--ckpt_path=nowhere.ckpt"]) == 2
    assert "nowhere.ckpt: no such file" in capsys.readouterr().err


def test_head_of_another_package_by_class_path(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_package.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    more = tmp_path / "more.yaml"
    head = {"class_path": "other_package.SquaredHead", "init_args": {"sharpness": 2.0}}
    more.write_text(yaml.safe_dump({"model": {"heads": {"kl": head}}}))
    assert main(["fit", f"--config={config}", f"--config={more}", "--trust=other_package"]) == 0
    model = oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert type(model.heads["kl"]).__name__ == "SquaredHead"
    assert model.heads["kl"].sharpness == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.encoder=timm3d/resnet81"], "Did you mean 'resnet18'"),
        (["--model.encoder=resnet18"], "Did you mean 'timm3d/resnet18'"),
        (["--data.manifest=absent.csv"], "absent.csv"),
        (["--data.targets=[kl]"], "head 'oa' learns from target 'oa', but the data module delivers ['kl']"),
        (["--model.loss_weights={oa: 1.0}"], "expected ['kl', 'oa'], got ['oa']"),
        (
            ["--model.heads={kl: {class_path: oahier.SoftmaxHead, init_args: {num_classes: 3}}}"],
            "labels 0..2",
        ),
    ],
)
def test_bad_input_ends_in_one_line(
    config: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", f"--config={config}", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_check_lists_all_problems(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(manifest)]) == 0
    assert "no problems" in capsys.readouterr().out
    lines = manifest.read_text().splitlines()
    lines[1] = lines[1].replace(",0,train", ",7,train")
    lines[3] = lines[2]
    manifest.write_text("\n".join(lines) + "\n")
    (manifest.parent / "knee-04.nii.gz").write_bytes(b"not an image")
    assert main(["data", "check", str(manifest)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("knee-00", "knee-01", "knee-04"):
        assert text in printed


def test_phantoms_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "phantom", str(tmp_path / "phantoms"), "--knees=4", "--shape=[16,24,24]"]) == 0
    assert "4 phantom knees" in capsys.readouterr().out
    assert len(oh.read_manifest(tmp_path / "phantoms" / "manifest.csv")) == 4


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "data check" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert oh.__version__ in capsys.readouterr().out
