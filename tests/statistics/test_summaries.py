from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, brier_score_loss, cohen_kappa_score, roc_auc_score

from oahier.metrics import Rows, registered
from oahier.statistics import Summary, summarise_rows
from oahier.statistics.intervals import percentile_interval, subject_weights

RESAMPLES = 60
HEADLINE = [metric for metric in registered() if metric.headline]


def _summaries(
    subjects: list[str], p: np.ndarray, y: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Summary]:
    """Headline metrics by name; probabilities of the grades, or of one class."""
    rows = Rows.of(p, y, subject=subjects)
    return {row.metric: row for row in summarise_rows([rows], HEADLINE, resamples=resamples, seed=seed)}


def _knees(rows: int = 40, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, rows)
    logits = -np.abs(np.arange(5) - labels[:, None]) + generator.normal(0, 1.2, (rows, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [f"s{row // 2}" for row in range(rows)], probabilities, labels


def _reference(name: str, p: np.ndarray, y: np.ndarray) -> float:
    predicted, severity = p.argmax(axis=1), p @ np.arange(5)
    if name == "qwk":
        return float(cohen_kappa_score(y, predicted, weights="quadratic", labels=range(5)))
    if name == "accuracy":
        return float(accuracy_score(y, predicted))
    if name == "mae":
        return float(np.abs(predicted - y).mean())
    if name == "severe_auc":
        return float(roc_auc_score(y >= 3, severity)) if len(set(y >= 3)) == 2 else math.nan
    if len(set(y)) < 5:
        return math.nan
    return float(np.mean([roc_auc_score(y == grade, p[:, grade]) for grade in range(5)]))


@pytest.mark.parametrize("name", ["qwk", "accuracy", "mae", "macro_auc", "severe_auc"])
def test_ordinal_intervals_are_those_of_a_loop(name: str) -> None:
    subjects, p, y = _knees()
    values = []
    for weight in subject_weights(subjects, RESAMPLES, seed=3):
        rows = np.repeat(np.arange(len(y)), weight.astype(int))
        values.append(_reference(name, p[rows], y[rows]))
    expected = percentile_interval(np.array(values))
    found = _summaries(subjects, p, y, resamples=RESAMPLES, seed=3)[name]
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.undefined == expected.undefined


@pytest.mark.parametrize("name", ["auc", "accuracy", "brier"])
def test_binary_intervals_are_those_of_a_loop(name: str) -> None:
    subjects, p, y = _knees(30, seed=1)
    probability, oa = p[:, 2:].sum(axis=1).clip(0, 1), (y >= 2).astype(int)
    oa[::7] = 1 - oa[::7]  # some are wrong, so that resamples differ
    values = []
    for weight in subject_weights(subjects, RESAMPLES, seed=3):
        rows = np.repeat(np.arange(len(y)), weight.astype(int))
        one, label = probability[rows], oa[rows]
        if name == "accuracy":
            values.append(accuracy_score(label, one >= 0.5))
        elif name == "brier":
            values.append(brier_score_loss(label, one, pos_label=1))
        else:
            values.append(roc_auc_score(label, one) if len(set(label)) == 2 else math.nan)
    expected = percentile_interval(np.array(values))
    found = _summaries(subjects, probability, oa, resamples=RESAMPLES, seed=3)[name]
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_seed_decides() -> None:
    knees = _knees()
    first, again, other = (_summaries(*knees, resamples=50, seed=seed)["qwk"] for seed in (1, 1, 2))
    assert first.ci_low < first.ci_high
    assert (first.ci_low, first.ci_high) == (again.ci_low, again.ci_high)
    assert (first.ci_low, first.ci_high) != (other.ci_low, other.ci_high)


def test_interval_holds_the_estimate() -> None:
    subjects, p, y = _knees(120)
    for name, interval in _summaries(subjects, p, y, resamples=500).items():
        assert interval.ci_low <= _reference(name, p, y) <= interval.ci_high
        assert interval.ci_low < interval.ci_high


def test_one_subject_has_no_interval() -> None:
    _, p, y = _knees(20)
    for interval in _summaries(["only"] * 20, p, y, resamples=20).values():
        assert math.isnan(interval.ci_low)
        assert math.isnan(interval.ci_high)


def test_one_class_is_nan_not_a_number_made_up() -> None:
    subjects, p, _ = _knees(20)
    found = _summaries(subjects, p, np.full(20, 2), resamples=20)
    for name in ("macro_auc", "severe_auc"):
        assert math.isnan(found[name].ci_low)
        assert found[name].undefined == 20
    assert 0 <= found["accuracy"].ci_low <= found["accuracy"].ci_high <= 1
    binary = _summaries(subjects, p[:, 0], np.zeros(20, dtype=int), resamples=20)
    assert math.isnan(binary["auc"].ci_high)
    assert binary["brier"].ci_low < binary["brier"].ci_high


def test_two_knees_of_a_subject_widen_the_interval() -> None:
    """Counting 30 subjects twice tells no more than counting them once."""
    subjects, p, y = _knees(30, seed=2)
    subjects = [str(row) for row in range(30)]
    once = _summaries(subjects, p, y, resamples=400)["accuracy"]
    twice = _summaries(subjects * 2, np.tile(p, (2, 1)), np.tile(y, 2), resamples=400)["accuracy"]
    assert (twice.ci_low, twice.ci_high) == (once.ci_low, once.ci_high)
    naive = _summaries([str(row) for row in range(60)], np.tile(p, (2, 1)), np.tile(y, 2), resamples=400)[
        "accuracy"
    ]
    assert naive.ci_high - naive.ci_low < once.ci_high - once.ci_low


@pytest.mark.parametrize("right", [False, True])
def test_without_spread_accuracy_is_exact_and_the_rest_undefined(right: bool) -> None:
    """Twelve knees of eight subjects, all right or all wrong: no interval may be of no width."""
    subjects = [f"s{row % 8}" for row in range(12)]
    y = np.arange(12) % 5
    p = np.eye(5)[y if right else (y + 1) % 5]
    found = _summaries(subjects, p, y, resamples=RESAMPLES)
    expected = binomtest(8 * right, 8).proportion_ci(0.95, "exact")
    assert (found["accuracy"].ci_low, found["accuracy"].ci_high) == pytest.approx(
        (expected.low, expected.high)
    )
    if right:
        assert math.isnan(found["mae"].ci_low)
        assert math.isnan(found["severe_auc"].ci_high)
    positive = (y == 4).astype(int)
    probability = positive if right else 1 - positive
    binary = _summaries(subjects, probability.astype(float), positive, resamples=RESAMPLES)
    assert (binary["accuracy"].ci_low, binary["accuracy"].ci_high) == (
        found["accuracy"].ci_low,
        found["accuracy"].ci_high,
    )
    assert math.isnan(binary["auc"].ci_low)
    assert math.isnan(binary["brier"].ci_low)
