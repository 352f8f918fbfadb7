"""Dawid-Skene against a loop over knees; what is identified; anchors, blocks, splits and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from oahier.noise import ADJUDICATED_BLOCKS, dawid_skene
from oahier.phantom.readers import BLOCK_NOISE

BLOCK = np.array(BLOCK_NOISE)


def read(truth, matrix, readers, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([[rng.choice(5, p=matrix[grade]) for _ in range(readers)] for grade in truth])


def slow(readings, smoothing, blocks=None, iterations=1000):
    """Expectation-maximisation knee by knee."""
    readers = readings.shape[1]
    near = np.array([[np.exp(-2.0 * abs(i - j)) for j in range(5)] for i in range(5)])
    if blocks is not None:
        near = np.array([[near[i, j] * (blocks[i] == blocks[j]) for j in range(5)] for i in range(5)])
    start = near / near.sum(axis=1, keepdims=True)
    matrices, prior = [start.copy() for _ in range(readers)], np.full(5, 0.2)
    for _ in range(iterations):
        counts, total, posterior = [smoothing * start for _ in range(readers)], np.full(5, 1e-9), []
        for row in readings:
            p = prior.copy()
            for reader, label in enumerate(row):
                if label >= 0:
                    p = p * matrices[reader][:, label]
            p = p / p.sum()
            posterior.append(p)
            total = total + p
            for reader, label in enumerate(row):
                if label >= 0:
                    counts[reader][:, label] += p
        matrices = [count / count.sum(axis=1, keepdims=True) for count in counts]
        prior = total / total.sum()
    return np.array(matrices), prior, np.array(posterior)


@pytest.mark.parametrize("blocks", [None, ADJUDICATED_BLOCKS])
def test_estimate_is_that_of_the_loop(blocks):
    truth = np.random.default_rng(1).integers(0, 5, 60)
    readings = read(truth, BLOCK, 3)
    readings[::7, 1] = -1
    readings[3] = [-1, readings[3, 1], -1]
    found = dawid_skene(readings, 5, blocks=blocks, smoothing=2.0, resamples=2)
    matrices, prior, posterior = slow(readings, 2.0, blocks, 400)
    np.testing.assert_allclose(found.matrices, matrices, atol=2e-4)
    np.testing.assert_allclose(found.prior, prior, atol=2e-4)
    np.testing.assert_allclose(found.posterior, posterior, atol=2e-3)


def test_three_readings_give_matrices_within_their_intervals_and_a_better_label():
    truth = np.random.default_rng(2).integers(0, 5, 4000)
    readings = read(truth, BLOCK, 3)
    found = dawid_skene(readings, 5, blocks=ADJUDICATED_BLOCKS, resamples=100)
    assert found.identified
    low, high = found.matrix_intervals
    inside = ((low <= BLOCK) & (high >= BLOCK))[:, BLOCK > 0]
    assert inside.mean() >= 0.8
    assert np.abs(found.matrices - BLOCK).max() < 0.1
    consensus = found.posterior.argmax(axis=1)
    assert (consensus == truth).mean() > (readings[:, 0] == truth).mean() + 0.08
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0)


def test_two_readings_are_not_enough_and_anchors_are():
    truth = np.random.default_rng(3).integers(0, 5, 3000)
    readings = read(truth, BLOCK, 2)
    assert not dawid_skene(readings, 5, blocks=ADJUDICATED_BLOCKS, resamples=2).identified
    anchors = np.where(np.arange(3000) < 1500, truth, -1)
    found = dawid_skene(readings, 5, truth=anchors, resamples=2)
    assert found.identified
    assert np.abs(found.matrices - BLOCK).max() < 0.05
    assert (found.posterior.argmax(axis=1)[:1500] == truth[:1500]).all()
    alone = dawid_skene(readings[:, :1], 5, truth=anchors, fit=anchors >= 0, resamples=2, smoothing=1e-6)
    table = np.array([np.bincount(readings[:1500, 0][truth[:1500] == i], minlength=5) for i in range(5)])
    np.testing.assert_allclose(alone.matrices[0], table / table.sum(axis=1, keepdims=True), atol=2e-3)


def test_matrices_come_from_the_knees_to_fit_and_intervals_from_subjects():
    truth = np.random.default_rng(4).integers(0, 5, 800)
    readings = read(truth, BLOCK, 3)
    fit = np.arange(800) < 400
    other = readings.copy()
    other[400:] = 0
    first, second = (dawid_skene(item, 5, fit=fit, resamples=50) for item in (readings, other))
    np.testing.assert_array_equal(first.matrices, second.matrices)
    assert len(first.posterior) == 800
    assert not np.array_equal(first.posterior[400:], second.posterior[400:])
    pairs = dawid_skene(readings, 5, subjects=np.arange(800) // 40, resamples=50)
    widths = [
        np.ptp(one.agreement_intervals[:, 0, 1, 0]) for one in (dawid_skene(readings, 5, resamples=50), pairs)
    ]
    assert widths[0] != widths[1]
    again = dawid_skene(readings, 5, subjects=np.arange(800) // 40, resamples=50)
    np.testing.assert_array_equal(pairs.matrix_intervals, again.matrix_intervals)


def test_agreement_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 200))  # grade 4 is never read
    kappa = cohen_kappa_score(a, b, weights="quadratic", labels=range(5))
    found = dawid_skene(np.column_stack([a, b]), 5, resamples=5)
    np.testing.assert_allclose(found.agreement[0, 1], [(a == b).mean(), kappa])
    one_grade = dawid_skene(np.zeros((3, 2), dtype=np.int64), 5, resamples=5)
    np.testing.assert_array_equal(one_grade.agreement[0, 1], [1.0, np.nan])


@pytest.mark.parametrize(
    ("readings", "options", "message"),
    [
        (
            [[0], [1]],
            {},
            "expected knees with two readings, or with a reading and a known truth.*name a second",
        ),
        ([[0, -1], [-1, 1]], {}, "expected knees with two readings"),
        (
            [[0, 1], [1, 2]],
            {"blocks": ADJUDICATED_BLOCKS},
            r"1 knees have readings in different blocks.*row 1",
        ),
        ([[0, 5]], {}, r"expected classes 0..4 or -1, got \[-1, 0, 5\]"),
    ],
)
def test_bad_readings_are_one_sentence(readings, options, message):
    with pytest.raises(ValueError, match=message):
        dawid_skene(np.array(readings), 5, resamples=2, **options)
