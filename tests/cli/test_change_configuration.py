"""Pairs of visits through ``oahier fit | test``: classes that a configuration names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml

import oahier as oh
from oahier.cli import main
from oahier.cli.classes import Classes, with_class, without_classes
from oahier.data import VisitPairsDataModule
from oahier.model import ChangeModel
from oahier.specs.errors import MissingClassError, SpecError
from oahier.statistics import read_predictions

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = [
    "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.logger=false",
    "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1", "--model.encoder.init_args.depth=10",
    "--model.encoder.init_args.width=8", "--data.shape=[8,12,12]",
]  # fmt: skip


class Twice(ChangeModel):
    """A model of somebody else's."""


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``oahier init`` writes, beside phantoms of three visits."""
    monkeypatch.chdir(tmp_path)
    oh.make_phantoms(
        "p", 24, knees_per_subject=2, shape=(8, 12, 12), visits=3, rate=0.2, interval=24, progress=False
    )
    assert main(["init", "--manifest", "p/manifest.csv", "--run", "runs/mine", "--yes"]) == 0
    return tmp_path / "change.yaml"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def test_fit_and_test(change: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/mine-change")
    assert main(["fit", f"--config={change}", *SMALL, "--data.init_args.steps=1"]) == 0
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["model"]["class_path"] == "oahier.model.ChangeModel"
    assert resolved["data"]["class_path"] == "oahier.data.VisitPairsDataModule"
    assert resolved["model"]["init_args"]["encoder"]["init_args"]["width"] == 8
    assert len(resolved["data"]["init_args"]["spacing"]) == 3, "the spacing that was found"
    best = run / "checkpoints" / "best.ckpt"
    assert type(oh.HierarchicalClassifier.load_from_checkpoint(best)) is ChangeModel

    capsys.readouterr()
    assert main(["test", f"--config={run / 'config.yaml'}"]) == 0
    said = capsys.readouterr().out
    found = read_predictions(run / "predictions.csv")
    assert f"Results on the test split, {len(found)} pairs of visits of 3 subjects" in said
    assert "oahier predict" not in said, "which grades single scans"
    pairs = VisitPairsDataModule("p/manifest.csv", (8, 12, 12))
    assert len(found) == len(pairs.manifest.subset("test"))  # three visits have three pairs
    assert all("-to-" in name for name in found.knee.tolist())
    assert yaml.safe_load((run / "test.yaml").read_text())["data"]["class_path"]
    assert main(["predict", str(best), "p/manifest.csv", "--output=out"]) == 2
    assert "compares two visits of a knee and cannot grade one scan" in capsys.readouterr().err


def test_training_goes_on_where_it_stopped(change: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/mine-change")
    assert main(["fit", f"--config={change}", *SMALL, "--model.lr_scheduler=null"]) == 0
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    more = [f"--config={run / 'config.yaml'}", "--trainer.max_epochs=2"]
    assert main(["fit", *more]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["fit", *more, "--ckpt_path=last"]) == 0
    whole = ["--trainer.max_epochs=2", "--trainer.default_root_dir=whole"]
    assert main(["fit", f"--config={run / 'config.yaml'}", *whole]) == 0
    resumed, once = (weights(folder / "checkpoints" / "last.ckpt") for folder in (run, Path("whole")))
    assert all(torch.equal(resumed[name], once[name]) for name in once)
    again = yaml.safe_load((run / "config.yaml").read_text())
    assert again["data"] == resolved["data"]


def test_evaluations_of_other_data_or_another_class_are_refused(
    change: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path("runs/mine-change")
    assert main(["fit", f"--config={change}", *SMALL]) == 0
    best = run / "checkpoints" / "best.ckpt"
    capsys.readouterr()
    words = ["test", f"--config={run / 'config.yaml'}"]
    assert main([*words, "--data.shape=[8,12,14]"]) == 2
    assert "trained with shape=[8, 12, 12], the data module has [8, 12, 14]" in capsys.readouterr().err
    for command in ("test", "fit"):
        small = [word for word in SMALL if command == "fit" or not word.startswith("--model.")]
        other = [command, "--config=own_data.yaml", *small, f"--ckpt_path={best}"]
        assert main(other) == 2
        said = capsys.readouterr().err
        assert "its model is of the class oahier.model.ChangeModel, that of the configuration of" in said
        assert "--model.class_path oahier.model.ChangeModel" in said


def test_it_starts_from_the_encoder_of_a_classifier(change: Path) -> None:
    assert main(["fit", "--config=own_data.yaml", *SMALL, "--trainer.callbacks=[]"]) == 0
    (kept,) = Path("runs/mine").rglob("*.ckpt")
    start = ["--trainer.callbacks+=oahier.callbacks.PretrainedWeights", f"--trainer.callbacks.path={kept}"]
    slow = ["--model.optimizer.init_args.lr=0", "--model.optimizer.init_args.weight_decay=0"]
    assert main(["fit", f"--config={change}", *SMALL, *start, *slow]) == 0
    trained, begun = weights(kept), weights(Path("runs/mine-change/checkpoints/best.ckpt"))
    names = [name for name in trained if name.startswith("encoder.") and name.endswith("weight")]
    assert len(names) > 10
    assert all(torch.equal(trained[name], begun[name]) for name in names)


def test_preprocessing_ahead_takes_the_same_configuration(
    change: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "cache", "--config", str(change), "--data.shape=[8,12,12]", "--data.steps=4"]) == 0
    assert "72 knees of 8 x 12 x 12 voxels" in " ".join(capsys.readouterr().out.split())


def test_classes_are_of_packages_that_are_trusted_and_of_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "not_yet", None)
    with pytest.raises(MissingClassError, match="package 'elsewhere' is not trusted"):
        Classes.named_by(["--model.class_path", "elsewhere.Model"])
    with pytest.raises(SpecError, match=r"--data\.class_path: expected oahier\.KneeMRIDataModule or "):
        Classes.named_by(["--data=oahier.data.KneeCache"])
    with pytest.raises(SpecError, match=r"--model\.class_path: expected oahier\.Hierarchical"):
        Classes.named_by(["--model.class_path=oahier.ResNet3D"])
    path = tmp_path / "mine.yaml"
    path.write_text("model: {class_path: theirs.Twice}\n")
    monkeypatch.setitem(sys.modules, "theirs", sys.modules[__name__])
    monkeypatch.setenv("OAHIER_TRUST", "theirs")
    assert Classes.named_by([f"--config={path}"]).model is Twice
    assert (
        Classes.named_by(["--config", str(path), "--model", "oahier.model.ChangeModel"]).model is ChangeModel
    )
    assert Classes.named_by(["--config", "absent.yaml"]).others() == {}


def test_only_words_that_name_a_class_are_taken_out() -> None:
    words = ["fit", "--model", "oahier.model.ChangeModel", "--model.init_args.encoder=resnet3d"]
    assert without_classes(words) == ["fit", "--model.encoder=resnet3d"]
    kept = ["--data.class_path", "x.Y", "--model.encoder.class_path=a.B", "--trainer.callbacks+=oahier.X"]
    assert without_classes(kept) == kept[2:]
    text = "# header\nmodel:\n  a: |\n    one\n\n    two\ndata:\n  b: 1\n"
    made = yaml.safe_load(with_class(text, "model", "x.Y"))
    assert made == {
        "model": {"class_path": "x.Y", "init_args": {"a": "one\n\ntwo\n"}},
        "data": {"b": 1},
    }


def test_arguments_beside_the_class_are_refused(change: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(change.read_text())
    content["data"]["steps"] = 4
    change.write_text(yaml.safe_dump(content))
    assert main(["fit", f"--config={change}"]) == 2
    assert "data: expected class_path and init_args alone, got 'steps' beside them" in capsys.readouterr().err


def test_the_whole_configuration_is_printed_with_its_classes(
    change: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", f"--config={change}", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["class_path"] == "oahier.data.VisitPairsDataModule"
    assert printed["data"]["init_args"]["bias_correction"] is False
    assert printed["model"]["init_args"]["heads"]["change"]["init_args"]["num_classes"] == 3
