"""Evaluations take what the checkpoint was trained with, or are refused before anything is replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import yaml

import oahier as oh
from oahier.cli import main
from oahier.cli.evaluation import content_of, require_its_data


def test_results_of_a_run_are_of_its_model_and_its_data(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, manifest = tmp_path / "run", tmp_path / "knees.csv"
    best = run / "checkpoints" / "best.ckpt"
    assert main(["fit", f"--config={config}", "--model.heads.kl=oahier.CornHead"]) == 0
    assert main(["test", f"--config={config}"]) == 0, "the configuration has another head"
    kept = yaml.safe_load((run / "test.yaml").read_text())
    assert kept["model"]["heads"]["kl"]["class_path"] == "oahier.CornHead", "the model is the checkpoint's"
    assert len(kept["data"]["spacing"]) == 3, "the spacing too"
    results = (run / "predictions.csv").read_text()
    for option in ("--model.encoder.init_args.width=16", "--model.heads.kl=oahier.CoralHead"):
        capsys.readouterr()
        assert main(["test", f"--config={config}", option]) == 2
        name = option.partition("=")[0]
        assert f"oahier test: {name}: the model is that of the checkpoint" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["test", f"--config={config}", "--data.shape=[12,12,14]"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "trained with shape=[12, 12, 12], the data module has [12, 12, 14]" in error
    assert str(run / "config.yaml") in error
    assert (run / "predictions.csv").read_text() == results, "nothing was replaced"

    rows = manifest.read_text().splitlines()
    swapped = [row.replace(",train", ",?").replace(",test", ",train").replace(",?", ",test") for row in rows]
    (tmp_path / "swapped.csv").write_text("\n".join(swapped) + "\n")
    (tmp_path / "fewer.csv").write_text("\n".join(row for row in rows if "knee-17" not in row) + "\n")
    spacing = tuple(kept["data"]["spacing"])
    content = content_of(str(best))

    def refuse(command: str, name: str, folder: Path = run, **settings: Any) -> None:
        data = oh.KneeMRIDataModule(tmp_path / name, (12, 12, 12), **{"spacing": spacing, **settings})
        trainer = SimpleNamespace(default_root_dir=str(folder))
        require_its_data(command, SimpleNamespace(trainer=trainer, ckpt_path=str(best)), content, data)

    for command, name, settings, message in (
        ("test", "knees.csv", {"spacing": (1.0, 2.0, 2.0)}, r"the data module has \[1.0, 2.0, 2.0\]"),
        ("validate", "knees.csv", {"bias_correction": True}, "bias_correction=False, the data mod.* True"),
        ("test", "swapped.csv", {}, "10 of 10 test subjects were in the training or validation split"),
        ("test", "fewer.csv", {}, r"other knees than at the training \(0 new, 1 missing\).*replace those in"),
    ):
        with pytest.raises(ValueError, match=message):
            refuse(command, name, **settings)
    refuse("validate", "swapped.csv")
    refuse("test", "fewer.csv", tmp_path / "other")

    model = oh.HierarchicalClassifier.load_from_checkpoint(best)
    data = oh.KneeMRIDataModule(manifest, (12, 12, 14), spacing=(2.0, 2.0, 2.0))
    trainer = L.Trainer(default_root_dir=tmp_path / "python", logger=False, enable_progress_bar=False)
    with pytest.raises(ValueError, match="Nothing was evaluated; the training had shape"):
        trainer.test(model, data, ckpt_path=best, weights_only=True)
