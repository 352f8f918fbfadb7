"""One list of metrics, which everything that shows metrics reads; users add their own."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from oahier.metrics import (
    LevelRows,
    Metric,
    Rows,
    evaluate,
    find_metrics,
    register,
    registered,
    weighted_mean,
)
from oahier.metrics import registry as module
from oahier.metrics.registry import with_metrics

HEADLINE = {
    ("binary", "auc"), ("binary", "accuracy"), ("binary", "brier"), ("ordinal", "macro_auc"),
    ("ordinal", "accuracy"), ("ordinal", "qwk"), ("ordinal", "mae"), ("ordinal", "severe_auc"),
}  # fmt: skip
SMALLER = {"brier", "mae", "macro_mae", "rps", "ece", "probability_gap"}
TITLES = {
    "auc": "AUC", "f1": "F1", "brier": "Brier", "macro_auc": "macro AUC", "macro_f1": "macro F1",
    "qwk": "QWK", "mae": "MAE", "macro_mae": "macro MAE", "accuracy_within_one": "within one grade",
    "spearman": "Spearman",
    "rps": "RPS", "ece": "calibration error", "severe_auc": "AUC of grade 3 and more",
}  # fmt: skip
ROWS = Rows.of([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2]], [0, 1, 2])


def _bias(weights: np.ndarray, rows: Rows) -> np.ndarray:
    return weighted_mean(weights, rows.predicted - rows.labels)


def _unchecked(**arguments: Any) -> Metric:
    """A metric as it is made where types are not checked while it runs."""
    metric = copy.copy(Metric("bias", _bias))
    for name, value in arguments.items():
        object.__setattr__(metric, name, value)
    return metric


@pytest.fixture
def own() -> Iterator[Metric]:
    metric = register(Metric("bias", _bias, "mean error", better="smaller"))
    yield metric
    del module._registry["ordinal", "bias"]


def test_what_tables_say_of_the_metrics() -> None:
    for one in registered():
        assert ((one.kind, one.name) in HEADLINE) == one.headline, one
        assert (one.better == "smaller") == (one.name in SMALLER), one
        assert one.title == TITLES.get(one.name, one.name.replace("_", " ")), one
        assert one.share == (one.name in ("accuracy", "accuracy_within_one")), one
        assert one.classes == (5 if one.name == "severe_auc" else 0), one
        assert one.compared == (one.name not in ("linear_kappa", "ece", "severe_auc")), one


def test_order_of_the_tables_starts_with_the_papers() -> None:
    assert [one.name for one in registered("binary")][:3] == ["auc", "accuracy", "f1"]
    assert [one.name for one in registered("ordinal")][:3] == ["macro_auc", "accuracy", "macro_f1"]
    assert len(registered()) == sum(len(registered(kind)) for kind in ("binary", "ordinal", "hierarchy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "my metric"}, r"name must be letters, digits and underscores, got 'my metric'"),
        ({"name": "val/qwk"}, r"got 'val/qwk'"),
        ({"name": ""}, r"got ''"),
        ({"better": "higher"}, r"Metric 'bias': better must be one of larger, smaller, got 'higher'"),
        ({"kind": "grades"}, r"Metric 'bias': kind must be one of ordinal, binary, hierarchy, got 'grades'"),
    ],
)
def test_what_is_no_metric_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _unchecked(**arguments).__post_init__()


def test_a_function_must_return_one_value_a_resample() -> None:
    mean = Metric("mean", lambda weights, rows: float(rows.labels.mean()))
    with pytest.raises(
        ValueError, match=r"metric 'mean': expected 2 values, one a row of weights, got shape \(\)"
    ):
        mean(np.ones((2, 3)), ROWS)


def test_a_registered_metric_is_evaluated_and_found(own: Metric) -> None:
    assert evaluate(ROWS)["bias"] == pytest.approx((0 + 1 - 1) / 3)
    assert find_metrics("bias") == (own,)
    assert registered("ordinal")[-1] is own
    with pytest.raises(ValueError, match="metric 'bias': there is a metric of this name for ordinal heads"):
        register(Metric("bias", _bias))
    assert register(Metric("bias", _bias, kind="binary")).kind == "binary"
    del module._registry["binary", "bias"]


def test_further_metrics_stand_beside_the_registered_ones() -> None:
    bias = Metric("bias", _bias)
    assert with_metrics([bias]) == (*registered(), bias)
    assert find_metrics("bias") == ()
    with pytest.raises(ValueError, match="there is a metric 'qwk' for ordinal heads already"):
        with_metrics([Metric("qwk", _bias)])
    with pytest.raises(ValueError, match="there is a metric 'bias' for ordinal heads already"):
        with_metrics([bias, Metric("bias", _bias, "another")])
    with pytest.raises(TypeError):
        with_metrics(["qwk"])  # type: ignore[list-item]


def test_metrics_are_those_of_the_head() -> None:
    five, binary = Rows.of(np.full((1, 5), 0.2), [0]), Rows.of([0.5], [1])
    severe = find_metrics("severe_auc")[0]
    assert (severe.applies(five), severe.applies(ROWS), severe.applies(binary)) == (True, False, False)
    assert set(evaluate(binary)) == {one.name for one in registered("binary")}
    assert set(evaluate(ROWS)) == {one.name for one in registered("ordinal")} - {"severe_auc"}
    assert set(evaluate(ROWS, find_metrics("accuracy"))) == {"accuracy"}


def test_metrics_of_the_hierarchy_need_no_labels() -> None:
    rows = LevelRows(np.array([0.5, 0.5]), np.array([[0, 0.4, 0.6, 0, 0], [0, 0.3, 0.3, 0.2, 0.2]]))
    values = {one.name: one.value(rows) for one in registered("hierarchy")}
    assert values == pytest.approx({"agreement": 0.5, "probability_gap": (0.1 + 0.2) / 2})
    weighted = registered("hierarchy")[0](np.array([[2.0, 1.0], [0.0, 1.0]]), rows)
    assert weighted.tolist() == pytest.approx([2 / 3, 0])
    empty = LevelRows(np.zeros(0), np.zeros((0, 5)))
    assert all(math.isnan(one.value(empty)) for one in registered("hierarchy"))
