"""McNemar, DeLong, marginal homogeneity and corrections against other implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from oahier.statistics import (
    adjust_comparisons,
    adjust_p_values,
    compare_predictions,
    delong,
    marginal_homogeneity,
    mcnemar,
    parse_predictions,
)
from oahier.statistics.mcnemar import mcnemar_from_counts


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(8, 6, 0.79052734375), (7, 14, 0.18924713134765625), (10, 10, 1.0), (2, 9, 0.0654296875), (0, 0, 1.0)],
)
def test_exact_values(only_a: int, only_b: int, p: float) -> None:
    result = mcnemar_from_counts(only_a, only_b)
    assert (result.p_value, result.test) == (p, "mcnemar_exact")


def test_mid_p_of_exact2x2() -> None:
    assert mcnemar_from_counts(2, 9).mid_p_value == 0.03857421875
    assert mcnemar_from_counts(10, 10).mid_p_value == pytest.approx(1 - math.comb(20, 10) / 2**21)


def test_chi_square_values() -> None:
    assert mcnemar_from_counts(13, 18).p_value == pytest.approx(0.47249761400068846, abs=1e-15)
    result = mcnemar_from_counts(121, 59)
    assert result.statistic == pytest.approx(20.67222, abs=1e-5)
    assert result.p_value == pytest.approx(5.450095e-06, rel=1e-6)
    assert result.test == "mcnemar_chi2"


@pytest.mark.parametrize(
    ("only_a", "only_b", "p", "digits"), [(121, 59, 4e-6, 6), (30, 60, 0.00206, 5), (10, 10, 1.0, 12)]
)
def test_exact_form_of_large_tables(only_a: int, only_b: int, p: float, digits: int) -> None:
    assert round(mcnemar_from_counts(only_a, only_b, exact=True).p_value, digits) == p


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    if only_a + only_b == 0:
        return
    exact = only_a + only_b < 25
    if not exact and only_a == only_b:
        return  # statsmodels corrects |b - c| = 0 to 1 there
    expected = statsmodels_mcnemar([[3, only_a], [only_b, 4]], exact=exact, correction=True)
    assert mcnemar_from_counts(only_a, only_b).p_value == pytest.approx(expected.pvalue, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_swapping_inverts_the_odds(only_a: int, only_b: int) -> None:
    one, other = mcnemar_from_counts(only_a, only_b), mcnemar_from_counts(only_b, only_a)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.mid_p_value == pytest.approx(other.mid_p_value)
    if only_a and only_b:
        assert one.odds_ratio == pytest.approx(only_b / only_a)
        assert one.odds_ratio_low == pytest.approx(1 / other.odds_ratio_high)
        assert one.odds_ratio_low < one.odds_ratio < one.odds_ratio_high


def test_mcnemar_of_decisions() -> None:
    a = np.array([True] * 8 + [False] * 6 + [True] * 5)
    b = np.array([False] * 8 + [True] * 6 + [True] * 5)
    result = mcnemar(a, b)
    assert (result.only_a, result.only_b, result.p_value) == (8, 6, 0.79052734375)
    with pytest.raises(ValueError, match="one shape"):
        mcnemar(a, b[:3])
    with pytest.raises(ValueError, match="from 0 on"):
        mcnemar_from_counts(-1, 2)


def test_no_discordant_knee_has_no_odds() -> None:
    result = mcnemar_from_counts(0, 0)
    assert (result.p_value, result.mid_p_value) == (1, 1)
    assert math.isnan(result.odds_ratio)


def _reference_delong(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components from all pairs, as DeLong et al. 1988 write them; O(m n)."""
    x, y = scores[:, labels == 1], scores[:, labels == 0]
    psi = (x[:, :, None] > y[:, None]) + 0.5 * (x[:, :, None] == y[:, None])
    s10, s01 = (np.atleast_2d(np.cov(psi.mean(axis=axis))) for axis in (2, 1))
    return psi.mean(axis=(1, 2)), s10 / x.shape[1] + s01 / y.shape[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 15), st.integers(2, 15), st.integers(2, 4), st.integers(0, 3))
def test_delong_is_that_of_all_pairs(seed: int, m: int, n: int, models: int, digits: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.permutation([1] * m + [0] * n)
    scores = np.round(labels + generator.normal(0, 1, (models, m + n)), digits)  # with ties
    auc, covariance = _reference_delong(labels, scores)
    found = delong(labels, scores)
    np.testing.assert_allclose(found.auc, auc, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    pair = found.compare(0, 1)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance > 1e-10:
        z = (auc[1] - auc[0]) / np.sqrt(variance)
        assert pair.z == pytest.approx(z, abs=1e-9)
        least = 2.0 ** (1 - m - n)  # of as many unanimous rows
        assert pair.p_value == pytest.approx(max(least, 2 * norm.sf(abs(z))), abs=1e-9)
        assert pair.ci_low == pytest.approx(auc[1] - auc[0] - 1.959963984540054 * np.sqrt(variance), abs=1e-9)
    assert found.p_values()[0, 1] == pytest.approx(found.p_values()[1, 0])


def test_identical_scores_do_not_differ() -> None:
    generator = np.random.default_rng(0)
    labels, score = np.arange(500) % 2, generator.normal(size=500)
    for other in (score, score * 1e-9 + 3, np.exp(score)):  # also a monotone copy
        pair = delong(labels, [score, other]).compare(0, 1)
        assert (pair.z, pair.p_value, pair.difference) == (0, 1, 0)


def test_nearly_tied_scores_need_double_precision() -> None:
    labels = np.array([0, 0, 1, 1])
    close = 1 + np.array([0, 1, 2, 3]) * 1e-12
    assert delong(labels, [close]).auc[0] == 1


def test_perfect_against_reversed_ranking() -> None:
    labels = np.array([0, 0, 1, 1])
    pair = delong(labels, [[1, 2, 3, 4], [4, 3, 2, 1]]).compare(0, 1)
    assert (pair.difference, pair.z, pair.p_value) == (-1, -np.inf, 2 / 2**4)


def test_delong_interval_lies_within_the_scale() -> None:
    labels = np.array([0] * 5 + [1] * 5)
    result = delong(labels, [[*range(5), 3.5, 5, 6, 7, 8]])
    low, high = result.interval(0)
    assert 0 < low < result.auc[0] < high == 1


def test_one_class_has_no_area() -> None:
    result = delong([1, 1, 1], [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    assert np.isnan(result.auc).all()
    assert np.isnan(result.compare(0, 1).p_value)
    assert np.isnan(delong([0, 1, 1], [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]).compare(0, 1).p_value)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 2], [[0.1, 0.2, 0.3]], "labels: expected 0 and 1"),
        ([0, 1], [[0.1, 0.2, 0.3]], r"scores: expected shape \(models, 2\)"),
        ([0, 1], [[0.1, np.nan]], "scores: expected finite numbers"),
    ],
)
def test_delong_refuses(labels: list[int], scores: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        delong(labels, scores)


def test_delong_keeps_its_level() -> None:
    """Two equally good models differ significantly in about 5 % of samples."""
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 2
    p = [
        delong(labels, labels + generator.normal(0, 1, 80) + generator.normal(0, 1, (2, 80)))
        .compare(0, 1)
        .p_value
        for _ in range(400)
    ]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_delong_in_the_table() -> None:
    from made_predictions import columns

    a, b = (parse_predictions(columns(60, seed)) for seed in (0, 1))
    rows = compare_predictions([a], [b], auc_test="delong", metrics=["auc"])
    pair = delong(a.labels["oa"], [one.heads["oa"].probabilities[:, 1] for one in (a, b)]).compare(0, 1)
    assert (rows[0].p_value, rows[0].ci_low, rows[0].test) == (pair.p_value, pair.ci_low, "delong")


@pytest.mark.parametrize("method", ["stuart_maxwell", "bhapkar"])
def test_two_grades_are_mcnemar_without_correction(method: str) -> None:
    a = np.array([0] * 30 + [1] * 12 + [0] * 20 + [1] * 30)
    b = np.array([0] * 30 + [0] * 12 + [1] * 20 + [1] * 30)
    result = marginal_homogeneity(a, b, method=method)
    plain = (20 - 12) ** 2 / 32
    expected = plain if method == "stuart_maxwell" else plain / (1 - plain / len(a))
    assert result.statistic == pytest.approx(expected)
    assert result.degrees == 1


def test_grades_that_nobody_uses_change_nothing() -> None:
    generator = np.random.default_rng(0)
    a = generator.integers(0, 3, 60)
    b = np.clip(a + generator.integers(0, 2, 60), 0, 2)
    assert marginal_homogeneity(a, b, grades=5) == marginal_homogeneity(a, b, grades=3)
    assert marginal_homogeneity(2 * a, 2 * b, grades=5) == marginal_homogeneity(a, b, grades=3)
    assert marginal_homogeneity(a, b).p_value < 1e-4


def test_equal_margins_and_broken_tables() -> None:
    grades = np.array([0, 1, 2, 3, 4])
    assert marginal_homogeneity(grades, grades[::-1].copy()).p_value == 1
    assert marginal_homogeneity(np.zeros(3, dtype=int), np.zeros(3, dtype=int)).degrees == 0
    with pytest.raises(ValueError, match=r"grades_b: expected grades 0 to 4, got \[5\]"):
        marginal_homogeneity(np.array([1]), np.array([5]))
    with pytest.raises(ValueError, match="one shape"):
        marginal_homogeneity(grades, grades[:2])


def test_marginal_homogeneity_keeps_its_level() -> None:
    generator = np.random.default_rng(1)
    p = []
    for _ in range(200):
        truth = generator.integers(0, 5, 150)
        a, b = (np.clip(truth + generator.integers(-1, 2, 150), 0, 4) for _ in range(2))
        p.append(marginal_homogeneity(a, b).p_value)
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.11


@settings(max_examples=6, deadline=None)  # statsmodels collects garbage in every call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_by_hand(p_values: list[float]) -> None:
    p = np.array(p_values)
    order, count = np.argsort(p), len(p)
    steps = count / np.arange(1, count + 1)
    bh = np.minimum.accumulate((p[order] * steps)[::-1])[::-1].clip(max=1)
    holm = np.maximum.accumulate(p[order] * np.arange(count, 0, -1)).clip(max=1)
    np.testing.assert_allclose(adjust_p_values(p, "bh")[order], bh, atol=1e-12)
    np.testing.assert_allclose(adjust_p_values(p, "holm")[order], holm, atol=1e-12)
    np.testing.assert_array_equal(adjust_p_values(p, "none"), p)


def test_undefined_tests_are_not_counted() -> None:
    found = adjust_p_values([0.01, np.nan, 0.04], "holm")
    np.testing.assert_allclose(found, [0.02, np.nan, 0.04])
    assert np.isnan(adjust_p_values([np.nan])).all()


def test_wrong_p_values_are_refused() -> None:
    with pytest.raises(ValueError, match="values from 0 to 1"):
        adjust_p_values([0.1, 1.2])


def test_rows_of_a_family_are_adjusted_together() -> None:
    from made_predictions import columns

    a, b = (parse_predictions(columns(40, seed)) for seed in (0, 1))
    rows = compare_predictions([a], [b])
    adjusted = adjust_comparisons(rows, "bh")
    expected = adjust_p_values([row.p_value for row in rows], "bh")
    np.testing.assert_array_equal([row.p_adjusted for row in adjusted], expected)
    assert {row.correction for row in adjusted} == {"bh"}


def test_without_discordant_knees_both_counts_are_zero() -> None:
    result = mcnemar_from_counts(0, 0)
    assert (result.p_value, result.mid_p_value, result.only_a, result.only_b) == (1.0, 1.0, 0, 0)
