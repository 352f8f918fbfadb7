"""Checkpoints and study folders of the first version still load, and say what they said."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import oahier as oh
from oahier.prediction import load_trained
from oahier.study import read_plan, read_study, run_study
from oahier.study.executors import Executor
from oahier.study.report import write_report
from oahier.study.tables import write_tables
from oahier.testing import tiny_trainer

LEGACY = Path(__file__).parent / "legacy"
KEYS = {
    "cells": ["cell", "task", "metric"],
    "headline": ["supervision", "task", "metric"],
    "comparisons": ["model_a", "model_b", "task", "metric"],
}
"""Tables of predictions, and what names a row."""
VOLUME = torch.linspace(-1, 1, 12 * 14 * 12).reshape(1, 1, 12, 14, 12).sin()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.ckpt"
    path.write_bytes(gzip.decompress((LEGACY / "model.ckpt.gz").read_bytes()))
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LEGACY / "study", tmp_path / "study"))


def _assert_stored_logits(model: oh.HierarchicalClassifier) -> None:
    stored = json.loads((LEGACY / "logits.json").read_text())
    with torch.no_grad():
        logits = model.eval()(VOLUME)
    assert list(logits) == list(stored)
    for name, values in stored.items():
        torch.testing.assert_close(logits[name], torch.tensor(values), rtol=1e-4, atol=1e-5)


def test_checkpoint_predicts_what_it_predicted(checkpoint: Path) -> None:
    model = oh.HierarchicalClassifier.load_from_checkpoint(checkpoint)
    _assert_stored_logits(model)
    assert isinstance(model.weighting, oh.UncertaintyWeights)
    assert model.heads["kl"].label_smoothing == 0.1
    made = model.configure_optimizers()
    assert made["optimizer"].param_groups[0]["momentum"] == 0.5
    assert made["lr_scheduler"]["scheduler"].step_size == 2


def test_checkpoint_is_written_again_in_the_form_of_today(checkpoint: Path, tmp_path: Path) -> None:
    model = oh.HierarchicalClassifier.load_from_checkpoint(checkpoint)
    trainer = tiny_trainer(tmp_path)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "again.ckpt")
    stored = torch.load(tmp_path / "again.ckpt", weights_only=True)["hyper_parameters"]
    assert stored["heads"]["kl"]["class_path"] == "oahier.SoftmaxHead"
    _assert_stored_logits(oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "again.ckpt"))


def test_prediction_reads_it(checkpoint: Path) -> None:
    trained = load_trained(checkpoint)
    _assert_stored_logits(trained.model)
    assert trained.preprocessing.shape == (12, 14, 12)
    assert len(trained.splits["train"]) == 15


def test_study_is_read(study: Path) -> None:
    found = read_study(study)
    assert [(cell.name, cell.state) for cell in found.cells] == [
        ("single-kl_0", "finished"),
        ("dual_0", "finished"),
    ]
    assert found.cells[0].probes == ["oa"]
    assert found.cells[1].probes == []


def test_study_makes_the_tables_that_it_made(study: Path) -> None:
    """Every cell, model and comparison is in them, and metrics of predictions have the values they had."""
    before = {path.stem: pd.read_csv(path) for path in (study / "tables").glob("*.csv")}
    shutil.rmtree(study / "tables")
    write_tables(read_study(study))
    for name, keys in KEYS.items():
        after = pd.read_csv(study / "tables" / f"{name}.csv")
        both = before[name].merge(after, on=keys, suffixes=("_before", ""), how="left", validate="1:1")
        for column in ("value", "difference"):
            if column in before[name]:
                values = both[[f"{column}_before", column]].loc[both["metric"] != "macro_f1"].to_numpy()
                np.testing.assert_allclose(values[:, 1], values[:, 0], rtol=1e-6)


def test_study_has_a_report(study: Path) -> None:
    write_tables(read_study(study))
    assert write_report(study).is_file()


class NoneLeft(Executor):
    """Where no cell may arrive."""

    def run(self, cells):
        assert not list(cells)
        return iter(())


def test_study_is_finished_already(study: Path, tmp_path: Path) -> None:
    shutil.copy(study / "study.yaml", tmp_path / "study.yaml")
    ended = list(run_study(read_plan(tmp_path / "study.yaml"), study, NoneLeft()))
    assert [(cell.name, outcome) for cell, outcome in ended] == [
        ("single-kl_0", "finished"),
        ("dual_0", "finished"),
    ]


@pytest.mark.parametrize("cell", ["single-kl_0", "dual_0"])
def test_checkpoints_of_cells_load(cell: str) -> None:
    model = oh.HierarchicalClassifier.load_from_checkpoint(
        LEGACY / "study" / "cells" / cell / "checkpoints" / "best.ckpt"
    )
    with torch.no_grad():
        assert bool(torch.isfinite(model(VOLUME)["kl"]).all())
