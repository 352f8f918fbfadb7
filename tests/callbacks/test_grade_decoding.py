"""Grades by another rule of decision, in every table of a stage."""

import csv
import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from oahier.callbacks import DecisionCalibration, GradeDecoding, OrdinalMetrics, PredictionWriter
from oahier.metrics import Decoding, MostProbable, QuadraticCost, WeightedMedian
from oahier.specs import build
from oahier.testing import check_callback
from tests.callbacks.conftest import TinyKnees, TinyModel


def test_contract():
    check_callback(lambda: GradeDecoding(WeightedMedian()))


def run_test(trainer, folder, *callbacks):
    trainer(*callbacks, OrdinalMetrics(0), PredictionWriter()).test(
        TinyModel(), DataLoader(TinyKnees(40, "t"), 10)
    )
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    p = np.array([[float(row[f"prob_kl_{grade}"]) for grade in range(5)] for row in rows])
    return rows, p, json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize("rule", [None, WeightedMedian(), QuadraticCost(0.6, [5.0, 4.0, 3.0, 2.0, 1.0])])
def test_every_table_has_the_grades_of_the_rule(tmp_path, trainer, rule):
    rows, p, facts = run_test(trainer, tmp_path, *([] if rule is None else [GradeDecoding(rule)]))
    rule = rule or MostProbable()
    decided, truth = rule.decide(p), np.array([int(row["label_kl"]) for row in rows])
    assert [int(row["pred_kl"]) for row in rows] == decided.tolist()
    assert {row["decoding_kl"] for row in rows} == {rule.name}
    assert facts["decoding"] == rule.describe()
    assert facts["metrics"]["test/kl/mae"] == pytest.approx(np.abs(decided - truth).mean())
    half = [int(float(row["prob_oa"]) >= 0.5) for row in rows]
    assert [int(row["pred_oa"]) for row in rows] == half


def test_checkpoints_keep_the_rule(tmp_path, trainer):
    fit = trainer(GradeDecoding(WeightedMedian()), enable_checkpointing=False)
    fit.fit(TinyModel(), DataLoader(TinyKnees(20, "r"), 10), DataLoader(TinyKnees(30, "v"), 10))
    fit.save_checkpoint(tmp_path / "one.ckpt")
    kept = torch.load(tmp_path / "one.ckpt", weights_only=True)["callbacks"]["GradeDecoding"]["decoding"]
    assert isinstance(build(kept, Decoding), WeightedMedian)


def test_rules_differ_on_these_knees(tmp_path, trainer):
    _, p, _ = run_test(trainer, tmp_path)
    assert (WeightedMedian().decide(p) != MostProbable().decide(p)).any()


@pytest.mark.parametrize("first", [True, False])
def test_calibrated_probabilities_are_decoded(tmp_path, trainer, first):
    """Whatever the order of the two callbacks."""
    calibration = DecisionCalibration()
    fit = trainer(calibration, enable_checkpointing=False)
    fit.fit(TinyModel(), DataLoader(TinyKnees(20, "r"), 10), DataLoader(TinyKnees(30, "v"), 10))
    both = [GradeDecoding(WeightedMedian()), calibration]
    rows, p, facts = run_test(trainer, tmp_path, *(both if first else both[::-1]))
    assert [int(row["pred_kl"]) for row in rows] == WeightedMedian().decide(p).tolist()
    assert facts["decisions"] == calibration.decisions.describe()
    assert facts["decoding"] == "median grade (mean absolute error)"
    plain = run_test(trainer, tmp_path)[1]
    assert np.abs(plain - p).max() > 1e-3


def test_a_rule_is_asked_for(shapes_unchecked):
    with pytest.raises(TypeError, match=r"expected an oahier\.metrics\.Decoding such"):
        GradeDecoding("qwk")
