from __future__ import annotations

import warnings

import numpy as np
import pytest
from made_predictions import columns, reference

from oahier.metrics import (
    Metric,
    Rows,
    binary_metrics,
    ordinal_metrics,
    registered,
    weighted_auc,
    weighted_qwk,
)
from oahier.statistics.intervals import bootstrap_p_value, subject_weights, weight_chunks
from oahier.statistics.paired_predictions import align
from oahier.statistics.predictions import parse_predictions

KINDS = {"OA": "binary", "KL": "ordinal"}
EVERY = [(task, metric) for task, kind in KINDS.items() for metric in registered(kind)]


def _rows(table: dict, task: str) -> Rows:
    model = parse_predictions(table)
    rows = align([model]).rows(model, task.lower())
    assert rows is not None
    return rows


@pytest.mark.parametrize(("task", "metric"), EVERY, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("per_subject", [1, 2])
def test_resampled_values_are_those_of_a_scikit_learn_loop(
    task: str, metric: Metric, per_subject: int
) -> None:
    table = columns(24, seed=3, per_subject=per_subject)
    weights = subject_weights(table["subject"], 40, seed=5)
    found = metric(weights, _rows(table, task))
    for value, weight in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(24), weight.astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn remarks on absent classes
            expected = reference(task, metric.name, table, rows)
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("task", ["OA", "KL"])
def test_values_of_the_sample_are_those_of_the_metrics(task: str) -> None:
    table = columns(60)
    rows = _rows(table, task)
    p = np.stack([table[f"prob_kl_{grade}"] for grade in range(5)], axis=1)
    if task == "OA":
        expected = binary_metrics(np.array(table["prob_oa"]), np.array(table["label_oa"]))
    else:
        expected = ordinal_metrics(p, np.array(table["label_kl"]))
    assert {metric.name for metric in registered(KINDS[task])} == set(expected)
    for metric in registered(KINDS[task]):
        assert metric(np.ones((1, 60)), rows)[0] == pytest.approx(expected[metric.name], abs=1e-12)


def test_resamples_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(42)
    expected = [np.bincount(generator.integers(0, 30, 30), minlength=30) for _ in range(50)]
    found = subject_weights([f"{row:02d}" for row in range(30)], 50, seed=42)
    np.testing.assert_array_equal(found, np.array(expected))


def test_chunks_continue_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = [f"{row:02d}" for row in range(30)]
    whole = subject_weights(subjects, 50, seed=1)
    monkeypatch.setattr("oahier.statistics.intervals._CHUNK_CELLS", 200)
    chunks = list(weight_chunks(subjects, 50, np.random.default_rng(1)))
    assert len(chunks) > 5
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_more_rows_than_single_precision_counts_exactly() -> None:
    rows = 5000
    weights = subject_weights([f"{row:04d}" for row in range(rows)], 2, seed=0)
    assert weights.dtype == np.float64
    scores = np.random.default_rng(0).normal(size=rows)
    positive = np.arange(rows) % 2 == 0
    from sklearn.metrics import roc_auc_score

    for value, weight in zip(weighted_auc(weights, scores, positive), weights, strict=True):
        assert value == pytest.approx(roc_auc_score(positive, scores, sample_weight=weight), abs=1e-12)


@pytest.mark.parametrize("grades", [2, 5, 40])
def test_few_resamples_give_the_qwk_of_many(grades: int) -> None:
    """Few are summed over pairs of grades first, unless there are too many of these."""
    generator = np.random.default_rng(grades)
    predicted, labels = generator.integers(1, grades + 1, (2, 60))
    weights = generator.integers(0, 3, (20, 60)).astype(np.float64)
    few = np.concatenate([weighted_qwk(row[None], predicted, labels) for row in weights])
    np.testing.assert_array_equal(few, weighted_qwk(weights, predicted, labels))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0] * 99, 0.02),
        ([0.0] * 99, 1.0),
        ([1e-15, -1e-15, 0.0], 1.0),
        ([1.0] * 98 + [-1.0] + [np.nan] * 5, 0.04),
    ],
)
def test_p_value_by_hand(differences: list[float], expected: float) -> None:
    assert bootstrap_p_value(np.array(differences)) == pytest.approx(expected)


def test_p_value_of_nothing_is_undefined() -> None:
    assert np.isnan(bootstrap_p_value(np.full(3, np.nan)))
