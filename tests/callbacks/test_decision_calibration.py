"""Decisions fitted on validation knees, kept in checkpoints, and applied in tests."""

import csv
import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from oahier.callbacks import BestCheckpoint, DecisionCalibration, OrdinalMetrics, PredictionWriter
from oahier.clinical import Decisions, Isotonic, MostAccurate
from oahier.testing import check_callback
from tests.callbacks.conftest import TinyKnees, TinyModel


def test_contract():
    check_callback(lambda: DecisionCalibration(apply=False))


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", [None, Isotonic()])
def test_test_table_has_the_decisions_of_the_checkpoint(tmp_path, trainer, kind):
    def callbacks(*more):
        return [OrdinalMetrics(0), PredictionWriter(), BestCheckpoint("val/loss", "min"), *more]

    def tested(calibration, knees):
        trainer(*callbacks(calibration), enable_checkpointing=True).test(
            model, DataLoader(knees, 10), ckpt_path=best, weights_only=True
        )
        return rows(tmp_path / "predictions.csv"), json.loads((tmp_path / "metrics.json").read_text())

    model = TinyModel()
    val, test = TinyKnees(40, "v"), TinyKnees(30, "t")
    calibration = DecisionCalibration(kind, MostAccurate())
    fit = trainer(*callbacks(calibration), enable_checkpointing=True)
    fit.fit(model, DataLoader(TinyKnees(20, "r"), 10), DataLoader(val, 10))
    best = tmp_path / "checkpoints" / "best.ckpt"
    state = torch.load(best, weights_only=True)["callbacks"]["DecisionCalibration"]
    kept = Decisions.from_dict(state["decisions"])

    plain, facts = tested(DecisionCalibration(apply=False), test)
    assert "decisions" not in facts
    applied, facts = tested(DecisionCalibration(), test)
    p = np.array([float(row["prob_oa"]) for row in plain])
    q, decided = kept.heads["oa"].apply(np.stack([1 - p, p], axis=1))
    np.testing.assert_allclose([float(row["prob_oa"]) for row in applied], q[:, 1], atol=1e-6)
    assert [int(row["pred_oa"]) for row in applied] == decided.tolist()
    right = [row["pred_oa"] == row["label_oa"] for row in applied]
    assert facts["metrics"]["test/oa/accuracy"] == pytest.approx(np.mean(right))
    assert facts["decisions"] == kept.describe()
    with pytest.raises(ValueError, match="were fitted on"):
        tested(DecisionCalibration(), val)
