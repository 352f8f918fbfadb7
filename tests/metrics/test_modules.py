"""Metrics as torchmetrics: batches add up, ranks add up, labels may be missing, nothing is made up."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from oahier.metrics import Metric, TorchMetric, binary_metrics, ordinal_metrics, registered

EVERY = [*registered("ordinal"), *registered("binary")]
LESS_IS_BETTER = {"mae", "macro_mae", "rps", "ece", "brier"}
every_metric = pytest.mark.parametrize("one", EVERY, ids=lambda one: f"{one.kind}-{one.name}")


def _data(one: Metric):
    classes = 5 if one.kind == "ordinal" else 2
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(30) % classes
    logits = torch.randn(30, classes, generator=generator) + torch.eye(classes)[labels]
    labels[[3, 17]] = -1
    return torch.softmax(logits.double(), dim=1), labels


def _expected(one: Metric, p, y):
    return (ordinal_metrics(p, y) if one.kind == "ordinal" else binary_metrics(p[:, 1], y))[one.name]


@every_metric
def test_batches_add_up_to_the_function_on_all_rows(one):
    p, y = _data(one)
    metric = TorchMetric(one)
    for rows in torch.arange(30).split(7):
        metric.update(p[rows], y[rows])
    assert metric.compute().item() == pytest.approx(_expected(one, p, y))
    assert copy.deepcopy(metric).compute() == metric.compute()
    metric.reset()
    metric.update(p[:20], y[:20])
    assert metric.compute().item() == pytest.approx(_expected(one, p[:20], y[:20]))


@every_metric
def test_two_processes_give_what_one_gives(one):
    """Reduces the states of two ranks as torchmetrics does after gathering them."""
    p, y = _data(one)
    ranks = [TorchMetric(one), TorchMetric(one)]
    ranks[0].update(p[:11], y[:11])
    ranks[1].update(p[11:], y[11:])
    joined = TorchMetric(one)
    for name, reduce in ranks[0]._reductions.items():
        states = [getattr(rank, name) for rank in ranks]
        if isinstance(states[0], list):
            setattr(joined, name, reduce([torch.cat(state) for state in states]))
        else:
            setattr(joined, name, reduce(torch.stack(states)))
    joined._update_count = 1
    assert joined.compute().item() == pytest.approx(_expected(one, p, y))


@every_metric
def test_undefined_is_nan(one):
    p, y = _data(one)
    metric = TorchMetric(one)
    metric.update(p[:3], torch.full((3,), -1))
    assert math.isnan(metric.compute())
    metric.reset()
    diverged = p.clone()
    diverged[5] = math.nan
    metric.update(diverged, y)
    assert math.isnan(metric.compute())


@every_metric
def test_declared_traits(one):
    assert TorchMetric(one.name, one.kind).higher_is_better is (one.name not in LESS_IS_BETTER)
    assert TorchMetric.full_state_update is False


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"expected a metric of binary heads \(auc, .*, got 'qwk'"):
        TorchMetric("qwk", "binary")


def test_any_metric_can_be_wrapped():
    wrapped = TorchMetric(Metric("rows", lambda weights, rows: weights.sum(axis=1)))
    wrapped.update(torch.full((3, 4), 0.25), torch.tensor([0, -1, 3]))
    assert wrapped.compute() == 2
    assert wrapped.metric.name == "rows"
