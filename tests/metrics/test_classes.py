"""The torchmetrics classes: batches add up, ranks add up, labels may be missing, nothing is made up."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import oahier.metrics as metrics
from oahier.metrics import binary_metrics, ordinal_metrics

ORDINAL = {
    metrics.QuadraticWeightedKappa: "qwk",
    metrics.LinearWeightedKappa: "linear_kappa",
    metrics.Accuracy: "accuracy",
    metrics.AccuracyWithinOne: "accuracy_within_one",
    metrics.MeanAbsoluteError: "mae",
    metrics.MacroMeanAbsoluteError: "macro_mae",
    metrics.MacroF1: "macro_f1",
    metrics.MacroAUC: "macro_auc",
    metrics.RankedProbabilityScore: "rps",
}
BINARY = {
    metrics.BinaryAUC: "auc",
    metrics.AveragePrecision: "average_precision",
    metrics.Sensitivity: "sensitivity",
    metrics.Specificity: "specificity",
}
LESS_IS_BETTER = {metrics.MeanAbsoluteError, metrics.MacroMeanAbsoluteError, metrics.RankedProbabilityScore}
EVERY = [*ORDINAL, *BINARY]


def _data(cls):
    classes = 5 if cls in ORDINAL else 2
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(30) % classes
    logits = torch.randn(30, classes, generator=generator) + torch.eye(classes)[labels]
    labels[[3, 17]] = -1
    return torch.softmax(logits.double(), dim=1), labels


def _expected(cls, p, y):
    return ordinal_metrics(p, y)[ORDINAL[cls]] if cls in ORDINAL else binary_metrics(p[:, 1], y)[BINARY[cls]]


@pytest.mark.parametrize("cls", EVERY)
def test_batches_add_up_to_the_function_on_all_rows(cls):
    p, y = _data(cls)
    metric = cls()
    for rows in torch.arange(30).split(7):
        metric.update(p[rows], y[rows])
    assert metric.compute().item() == pytest.approx(_expected(cls, p, y))
    assert copy.deepcopy(metric).compute() == metric.compute()
    metric.reset()
    metric.update(p[:20], y[:20])
    assert metric.compute().item() == pytest.approx(_expected(cls, p[:20], y[:20]))


@pytest.mark.parametrize("cls", EVERY)
def test_two_processes_give_what_one_gives(cls):
    """Reduces the states of two ranks as torchmetrics does after gathering them."""
    p, y = _data(cls)
    ranks = [cls(), cls()]
    ranks[0].update(p[:11], y[:11])
    ranks[1].update(p[11:], y[11:])
    joined = cls()
    for name, reduce in ranks[0]._reductions.items():
        states = [getattr(rank, name) for rank in ranks]
        if isinstance(states[0], list):
            setattr(joined, name, reduce([torch.cat(state) for state in states]))
        else:
            setattr(joined, name, reduce(torch.stack(states)))
    joined._update_count = 1
    assert joined.compute().item() == pytest.approx(_expected(cls, p, y))


@pytest.mark.parametrize("cls", EVERY)
def test_undefined_is_nan(cls):
    p, y = _data(cls)
    metric = cls()
    metric.update(p[:3], torch.full((3,), -1))
    assert math.isnan(metric.compute())
    metric.reset()
    diverged = p.clone()
    diverged[5] = math.nan
    metric.update(diverged, y)
    assert math.isnan(metric.compute())


@pytest.mark.parametrize("cls", EVERY)
def test_declared_traits(cls):
    assert cls.higher_is_better is (cls not in LESS_IS_BETTER)
    assert cls.full_state_update is False
