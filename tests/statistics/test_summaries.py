from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest, t
from sklearn.metrics import accuracy_score, brier_score_loss, cohen_kappa_score, roc_auc_score

from oahier.metrics import Rows, registered
from oahier.statistics import Summary, summarise_rows, summarise_values

HEADLINE = [metric for metric in registered() if metric.headline]


def _summaries(subjects: list[str], p: np.ndarray, y: np.ndarray) -> dict[str, Summary]:
    """Headline metrics by name; probabilities of the grades, or of one class."""
    rows = Rows.of(p, y, subject=subjects)
    return {row.metric: row for row in summarise_rows([rows], HEADLINE)}


def _knees(rows: int = 40, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, rows)
    logits = -np.abs(np.arange(5) - labels[:, None]) + generator.normal(0, 1.2, (rows, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [f"s{row // 2}" for row in range(rows)], probabilities, labels


def test_intervals_of_what_is_never_negative_are_not_below_zero() -> None:
    values = np.array([[0.0, 0.0, 0.0, 0.02, 0.0, 0.3]])
    usual, log, logit = (
        summarise_values(values, list("abcdef"), scale=scale) for scale in ("identity", "log", "logit")
    )
    assert usual.ci_low < 0 < log.ci_low < log.value < log.ci_high
    assert 0 < logit.ci_low < logit.value < logit.ci_high < 1
    assert usual.value == log.value == logit.value


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
    found = _summaries(subjects, p, y)[name]
    expected = _jackknife(name, subjects, lambda rows: _reference(name, p[rows], y[rows]))
    assert (found.ci_low, found.ci_high) == pytest.approx(expected, abs=1e-9)
    assert found.undefined == 0


@pytest.mark.parametrize("name", ["auc", "accuracy", "brier"])
def test_binary_intervals_are_those_of_a_loop(name: str) -> None:
    subjects, p, y = _knees(30, seed=1)
    probability, oa = p[:, 2:].sum(axis=1).clip(0, 1), (y >= 2).astype(int)
    oa[::7] = 1 - oa[::7]  # some are wrong, so that subjects differ

    def value(rows: np.ndarray) -> float:
        one, label = probability[rows], oa[rows]
        if name == "accuracy":
            return float(accuracy_score(label, one >= 0.5))
        if name == "brier":
            return float(brier_score_loss(label, one, pos_label=1))
        return float(roc_auc_score(label, one))

    found = _summaries(subjects, probability, oa)[name]
    assert (found.ci_low, found.ci_high) == pytest.approx(_jackknife(name, subjects, value), abs=1e-9)


def _jackknife(name: str, subjects: list[str], value: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """t interval on the scale of the metric, subjects left out in a loop."""
    names, whole = np.array(subjects), value(np.arange(len(subjects)))
    left = np.array([value(np.flatnonzero(names != one)) for one in sorted(set(subjects))])
    count = len(left)
    error = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    reach = float(t.ppf(0.975, count - 1)) * error
    if name == "qwk":
        middle, wide = np.arctanh(whole), reach / (1 - whole**2)
        return float(np.tanh(middle - wide)), float(np.tanh(middle + wide))
    if name in ("mae", "brier"):
        return whole * np.exp(-reach / whole), whole * np.exp(reach / whole)
    middle, wide = np.log(whole / (1 - whole)), reach / (whole * (1 - whole))
    return 1 / (1 + np.exp(wide - middle)), 1 / (1 + np.exp(-wide - middle))


def test_interval_holds_the_estimate() -> None:
    subjects, p, y = _knees(120)
    for name, interval in _summaries(subjects, p, y).items():
        assert interval.ci_low <= _reference(name, p, y) <= interval.ci_high
        assert interval.ci_low < interval.ci_high


def test_one_subject_has_no_interval() -> None:
    _, p, y = _knees(20)
    for interval in _summaries(["only"] * 20, p, y).values():
        assert math.isnan(interval.ci_low)
        assert math.isnan(interval.ci_high)


def test_one_class_is_nan_not_a_number_made_up() -> None:
    subjects, p, _ = _knees(20)
    found = _summaries(subjects, p, np.full(20, 2))
    for name in ("macro_auc", "severe_auc"):
        assert math.isnan(found[name].ci_low)
        assert found[name].undefined == len(set(subjects))
    assert 0 <= found["accuracy"].ci_low <= found["accuracy"].ci_high <= 1
    binary = _summaries(subjects, p[:, 0], np.zeros(20, dtype=int))
    assert math.isnan(binary["auc"].ci_high)
    assert binary["brier"].ci_low < binary["brier"].ci_high


def test_two_knees_of_a_subject_widen_the_interval() -> None:
    """Counting 30 subjects twice tells no more than counting them once."""
    subjects, p, y = _knees(30, seed=2)
    subjects = [str(row) for row in range(30)]
    once = _summaries(subjects, p, y)["accuracy"]
    twice = _summaries(subjects * 2, np.tile(p, (2, 1)), np.tile(y, 2))["accuracy"]
    assert (twice.ci_low, twice.ci_high) == (once.ci_low, once.ci_high)
    naive = _summaries([str(row) for row in range(60)], np.tile(p, (2, 1)), np.tile(y, 2))["accuracy"]
    assert naive.ci_high - naive.ci_low < once.ci_high - once.ci_low


@pytest.mark.parametrize("right", [False, True])
def test_without_spread_accuracy_is_exact_and_the_rest_undefined(right: bool) -> None:
    """Twelve knees of eight subjects, all right or all wrong: no interval may be of no width."""
    subjects = [f"s{row % 8}" for row in range(12)]
    y = np.arange(12) % 5
    p = np.eye(5)[y if right else (y + 1) % 5]
    found = _summaries(subjects, p, y)
    expected = binomtest(8 * right, 8).proportion_ci(0.95, "exact")
    assert (found["accuracy"].ci_low, found["accuracy"].ci_high) == pytest.approx(
        (expected.low, expected.high)
    )
    if right:
        assert math.isnan(found["mae"].ci_low)
        assert math.isnan(found["severe_auc"].ci_high)
    positive = (y == 4).astype(int)
    probability = positive if right else 1 - positive
    binary = _summaries(subjects, probability.astype(float), positive)
    assert (binary["accuracy"].ci_low, binary["accuracy"].ci_high) == (
        found["accuracy"].ci_low,
        found["accuracy"].ci_high,
    )
    assert math.isnan(binary["auc"].ci_low)
    assert math.isnan(binary["brier"].ci_low)
