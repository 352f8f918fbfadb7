from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from oahier.metrics import weighted_auc, weighted_qwk
from oahier.statistics.intervals import percentile_interval, subject_weights

GRADES = npst.arrays(np.int64, st.integers(4, 25), elements=st.integers(0, 4))


def _resampled(weights: np.ndarray) -> np.ndarray:
    """Row numbers of one resample, each as often as its weight says."""
    return np.repeat(np.arange(len(weights)), weights.astype(int))


@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=30), st.integers(0, 5))
def test_weights_draw_whole_subjects(subjects: list[str], seed: int) -> None:
    weights = subject_weights(subjects, 20, seed)
    assert weights.shape == (20, len(subjects))
    distinct = sorted(set(subjects))
    per_subject = np.stack([weights[:, subjects.index(name)] for name in distinct], axis=1)
    np.testing.assert_array_equal(per_subject.sum(axis=1), len(distinct))
    for row, name in enumerate(subjects):
        np.testing.assert_array_equal(weights[:, row], per_subject[:, distinct.index(name)])


def test_weights_depend_on_the_seed_only() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (subject_weights(list("abcde"), 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_a_subject_is_drawn_as_often_as_any_other() -> None:
    weights = subject_weights([f"s{index}" for index in range(10)], 20_000, 0)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.04)
    np.testing.assert_allclose(weights.var(axis=0), 0.9, atol=0.06)


@pytest.mark.parametrize(("subjects", "resamples"), [([], 10), (["a"], 0)])
def test_nothing_to_resample_is_refused(subjects: list[str], resamples: int) -> None:
    with pytest.raises(ValueError, match="at least one row and one resample"):
        subject_weights(subjects, resamples, 0)


@settings(max_examples=40)
@given(GRADES, st.integers(0, 99))
def test_qwk_is_that_of_resampled_rows(labels: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    predicted = np.clip(labels + generator.integers(-2, 3, len(labels)), 0, 4)
    weights = subject_weights([str(row // 2) for row in range(len(labels))], 5, seed)
    found = weighted_qwk(weights, predicted, labels)
    for value, weight in zip(found, weights, strict=True):
        rows = _resampled(weight)
        p, y = predicted[rows], labels[rows]
        if len(set(p) | set(y)) == 1:
            assert np.isnan(value)
            continue
        expected = cohen_kappa_score(y, p, weights="quadratic", labels=range(5))
        assert value == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40)
@given(GRADES, st.integers(0, 99))
def test_auc_is_that_of_resampled_rows(labels: np.ndarray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.round(labels + generator.normal(0, 1.5, len(labels)), 0)  # with many ties
    positive = labels >= 3
    weights = subject_weights([str(row // 2) for row in range(len(labels))], 5, seed)
    for value, weight in zip(weighted_auc(weights, scores, positive), weights, strict=True):
        rows = _resampled(weight)
        if len(set(positive[rows])) < 2:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(roc_auc_score(positive[rows], scores[rows]), abs=1e-12)


def test_published_qwk_values() -> None:
    one = np.ones((1, 3))
    assert weighted_qwk(one, np.array([1, 2, 2]), np.array([1, 2, 1]))[0] == pytest.approx(0.4)
    found = weighted_qwk(one, np.array([2, 4, 6]), np.array([1, 3, 5]))[0]
    assert found == pytest.approx(0.8421052631578947)


@given(npst.arrays(np.float64, st.integers(2, 20), elements=st.floats(-5, 5)), st.floats(0.5, 3))
def test_auc_sees_ranks_only(scores: np.ndarray, factor: float) -> None:
    positive = np.arange(len(scores)) % 2 == 0
    one = np.ones((1, len(scores)))
    scores = np.round(scores, 3)
    before = weighted_auc(one, scores, positive)
    np.testing.assert_allclose(weighted_auc(one, scores * factor + 1, positive), before)
    np.testing.assert_allclose(weighted_auc(one, -scores, positive), 1 - before)


def test_intervals_leave_out_undefined_values() -> None:
    values = np.array([np.nan, *np.linspace(0, 1, 101), np.nan])
    interval = percentile_interval(values)
    assert interval.undefined == 2
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))


def test_interval_of_nothing_is_nan() -> None:
    interval = percentile_interval(np.full(3, np.nan))
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
    assert interval.undefined == 3
