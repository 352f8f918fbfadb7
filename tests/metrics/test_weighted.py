"""Sums over weights: few and many resamples, ties, and where nothing is defined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from oahier.metrics import weighted_auc, weighted_average_precision, weighted_qwk, weighted_spearman
from oahier.metrics.association import auc, spearman, varies
from oahier.metrics.weighted import Confusion, Ranked

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 4, 30)
PREDICTED = GENERATOR.integers(0, 4, 30)
SCORES = GENERATOR.integers(0, 8, 30) / 8
POSITIVE = GENERATOR.random(30) < 0.4


@pytest.mark.parametrize("resamples", [1, 8, 9, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confusion_is_scikit_learns_for_few_and_many_resamples(resamples: int, dtype: type) -> None:
    weights = np.random.default_rng(1).integers(0, 4, (resamples, 30)).astype(dtype)
    table = Confusion(PREDICTED, LABELS, 5)
    found = table.counts(weights)
    assert found.dtype == np.float64
    for counts, weight in zip(found, weights, strict=True):
        expected = confusion_matrix(LABELS, PREDICTED, labels=range(5), sample_weight=weight)
        np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(table.sample, confusion_matrix(LABELS, PREDICTED, labels=range(5)))


def test_sorting_once_changes_nothing() -> None:
    weights = np.random.default_rng(2).integers(0, 3, (12, 30)).astype(np.float64)
    ranked = Ranked(SCORES)
    for function, other in ((weighted_auc, POSITIVE), (weighted_average_precision, POSITIVE)):
        np.testing.assert_array_equal(function(weights, ranked, other), function(weights, SCORES, other))
    np.testing.assert_array_equal(
        weighted_spearman(weights, ranked, Ranked(LABELS)), weighted_spearman(weights, SCORES, LABELS)
    )


@pytest.mark.parametrize("distinct", [False, True])
def test_areas_and_correlations_are_those_of_copied_rows(distinct: bool) -> None:
    scores = np.random.default_rng(5).random(30) if distinct else SCORES
    weights = np.random.default_rng(3).integers(0, 3, (10, 30)).astype(np.float64)
    found = (
        weighted_auc(weights, scores, POSITIVE),
        weighted_average_precision(weights, scores, POSITIVE),
        weighted_spearman(weights, scores, LABELS),
    )
    for place, weight in enumerate(weights):
        rows = np.repeat(np.arange(30), weight.astype(int))
        expected = (
            roc_auc_score(POSITIVE[rows], scores[rows]),
            average_precision_score(POSITIVE[rows], scores[rows]),
            spearmanr(scores[rows], LABELS[rows]).statistic,
        )
        assert [values[place] for values in found] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_or_one_value_is_undefined(value: float) -> None:
    weights, ones = np.ones((2, 30)), np.full(30, bool(value))
    assert np.isnan(weighted_auc(weights, SCORES, ones)).all()
    assert np.isnan(weighted_average_precision(weights, SCORES, ones)).all()
    assert np.isnan(weighted_spearman(weights, np.full(30, value), LABELS)).all()
    assert np.isnan(weighted_spearman(weights, SCORES, np.full(30, 2))).all()
    assert np.isnan(weighted_qwk(weights, np.full(30, 2), np.full(30, 2))).all()
    assert (weighted_qwk(weights, np.full(30, 2), np.full(30, 3)) == 0).all()
    assert (weighted_auc(weights, np.full(30, value), POSITIVE) == 0.5).all()


def test_association_of_plain_arrays() -> None:
    assert spearman(SCORES, LABELS) == pytest.approx(spearmanr(SCORES, LABELS).statistic)
    assert auc(SCORES, POSITIVE.astype(int)) == pytest.approx(roc_auc_score(POSITIVE, SCORES))
    infinite = np.append(SCORES[1:], np.inf)
    assert np.isnan([spearman(infinite, LABELS), auc(infinite, POSITIVE.astype(int))]).all()
    assert np.isnan([spearman(SCORES, np.zeros(30)), auc(SCORES, np.ones(30))]).all()
    assert [varies(np.array(values)) for values in ([1.0], [1.0, 1.0], [1.0, 2.0], [1.0, np.nan])] == [
        False, False, True, False,
    ]  # fmt: skip
