"""Decisions that minimise an expected cost, against every possible decision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

from oahier.metrics import Decoding, MostProbable, QuadraticCost, WeightedMedian, decisions
from oahier.specs import build, describe

weights = st.lists(st.lists(st.integers(0, 20), min_size=5, max_size=5).filter(any), min_size=1, max_size=8)


def _probabilities(rows: list[list[int]]) -> np.ndarray:
    counts = np.array(rows, dtype=np.float64)
    return counts / counts.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(weights)
def test_each_decision_has_the_smallest_expected_cost(rows: list[list[int]]) -> None:
    p, grades = _probabilities(rows), np.arange(5)
    for rule, cost in (
        (MostProbable(), lambda k, d: k != d),
        (WeightedMedian(), lambda k, d: abs(k - d)),
        (QuadraticCost(), lambda k, d: (k - d) ** 2),
    ):
        for row, decided in zip(p, rule.decide(p), strict=True):
            expected = [sum(row[k] * float(cost(k, d)) for k in grades) for d in grades]
            assert expected[decided] == pytest.approx(min(expected), abs=1e-9)
    assert (MostProbable().decide(p) == decisions(p)).all()
    cumulative = p.cumsum(axis=1)
    assert (WeightedMedian().decide(p) == (cumulative >= 0.5 - 1e-9).argmax(axis=1)).all()
    expected_grade = p @ grades
    assert (np.abs(QuadraticCost().decide(p) - expected_grade) <= 0.5 + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(weights, st.floats(0.2, 0.95), st.lists(st.integers(0, 30), min_size=5, max_size=5).filter(any))
def test_quadratic_decisions_are_nearest_to_the_stretched_expected_grade(
    rows: list[list[int]], kappa: float, shares: list[int]
) -> None:
    p, grades = _probabilities(rows), np.arange(5)
    mean = np.array(shares) @ grades / sum(shares)
    target = mean + (p @ grades - mean) / kappa
    decided = QuadraticCost(kappa, [float(share) for share in shares]).decide(p)
    nearest = np.abs(grades - target[:, None])
    assert nearest[np.arange(len(p)), decided] == pytest.approx(nearest.min(axis=1), abs=1e-6)


def test_at_their_own_kappa_quadratic_decisions_reach_the_largest_kappa() -> None:
    """Dinkelbach's condition, against every assignment of grades to six kinds of knees."""
    p = _probabilities([[6, 3, 1, 0, 0], [3, 4, 3, 0, 0], [1, 2, 4, 2, 1], [0, 1, 3, 4, 2], [0, 0, 2, 3, 5],
                        [4, 0, 0, 0, 3]])  # fmt: skip
    shares = p.mean(axis=0)
    squares = (np.arange(5)[:, None] - np.arange(5)) ** 2.0

    def kappa(decided: np.ndarray) -> float:
        return 1 - (p @ squares)[np.arange(len(p)), decided].sum() / (shares @ squares)[decided].sum()

    best = max(kappa(np.array(choice)) for choice in itertools.product(range(5), repeat=len(p)))
    found = QuadraticCost(best, shares.tolist()).decide(p)
    assert kappa(found) == pytest.approx(best)
    assert kappa(found) > kappa(MostProbable().decide(p))


def test_each_rule_is_best_for_its_metric() -> None:
    """Knees whose grade is drawn from the probabilities: what a calibrated head would give."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(5, 0.6), size=4000)
    y = np.array([rng.choice(5, p=row) for row in p])
    shares = np.bincount(y, minlength=5).tolist()
    rules = {
        "accuracy": MostProbable(), "mae": WeightedMedian(), "rounded": QuadraticCost(),
        "qwk": QuadraticCost(0.8, [float(share) for share in shares]),
    }  # fmt: skip
    decided = {name: rule.decide(p) for name, rule in rules.items()}
    accuracy = {name: accuracy_score(y, found) for name, found in decided.items()}
    error = {name: mean_absolute_error(y, found) for name, found in decided.items()}
    kappa = {name: cohen_kappa_score(y, found, weights="quadratic") for name, found in decided.items()}
    assert max(accuracy, key=accuracy.__getitem__) == "accuracy"
    assert min(error, key=error.__getitem__) == "mae"
    assert max(kappa, key=kappa.__getitem__) == "qwk"


def test_two_classes_and_undefined_rows_stay_as_they_are() -> None:
    for rule in (MostProbable(), WeightedMedian(), QuadraticCost()):
        assert rule.decide(np.array([[0.5, 0.5], [0.6, 0.4], [np.nan, 1.0]])).tolist() == [1, 0, -1]
        assert rule.decide(np.array([[np.nan] * 3, [0.2, 0.7, 0.1]])).tolist() == [-1, 1]


@pytest.mark.parametrize("rule", [MostProbable(), WeightedMedian(), QuadraticCost(0.5, [1.0, 2.0, 1.0])])
def test_serial_form(rule: Decoding) -> None:
    again = build(describe(rule), Decoding)
    assert again.describe() == rule.describe()
    np.testing.assert_array_equal(again.costs(3), rule.costs(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuadraticCost(0.0), r"kappa must lie in \(0, 1\], got 0.0"),
        (lambda: QuadraticCost(0.5), "expected the training knees of each grade"),
        (lambda: QuadraticCost(0.5, [0.0, 0.0]), "0 or more and not all 0, as kappa is 0.5"),
        (lambda: QuadraticCost(0.5, [1.0, 1.0]).decide(np.full((1, 3), 1 / 3)), "of 3 grades, got 2"),
    ],
)
def test_bad_arguments_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
