"""Metrics of the probabilities themselves: proper scores and calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Classes, Floats, Weights, ratio, weighted_mean

CALIBRATION_BINS = 10
"""Equal-width bins of the calibration error; few, because test sets of about a hundred knees are usual."""


def ranked_probability_score(weights: Weights, rows: Rows) -> Floats:
    r"""Mean ranked probability score (Epstein 1969, doi:10.1175/1520-0450(1969)008<0985:ASSFPF>2.0.CO;2).

    :math:`\sum_k (\sum_{j \le k} p_j - [y \le k])^2`, not divided by the number of thresholds: 0 is a sure
    hit, ``classes - 1`` a sure miss by the whole scale. It is proper, and distance counts.
    """
    reached = rows.labels[:, None] <= np.arange(rows.classes)
    return weighted_mean(weights, ((rows.probabilities.cumsum(axis=1) - reached) ** 2).sum(axis=1))


def brier_score(weights: Weights, rows: Rows) -> Floats:
    """Mean squared difference between P(class 1) and the label (Brier 1950)."""
    return weighted_mean(weights, (rows.probabilities[:, 1] - rows.positive) ** 2)


def calibration_error(weights: Weights, rows: Rows) -> Floats:
    r"""Expected calibration error of the predicted class (Guo et al. 2017, arXiv:1706.04599).

    :math:`\sum_b n_b / n \, |\text{accuracy}_b - \text{confidence}_b|` over ten equal-width bins of the
    highest probability.
    """
    confidence = rows.probabilities.max(axis=1)
    gap = rows.correct - confidence
    in_bin = np.eye(CALIBRATION_BINS)[_bins(confidence, CALIBRATION_BINS)]
    precise = weights.astype(np.float64)
    return ratio(np.abs(precise @ (in_bin * gap[:, None])).sum(axis=1), precise.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of a reliability curve; empty bins have NaN means."""

    confidence: Floats
    """Mean predicted probability."""
    frequency: Floats
    """Share of rows in which the predicted event happened."""
    count: Classes


def reliability(rows: Rows, bins: int = CALIBRATION_BINS) -> Reliability:
    """Group rows by predicted probability and compare it with how often the event happened.

    The event of two classes is class 1; of more, that the most probable class is right. Bins have equal
    width; each holds its lower edge, and the last one also 1.

    Args:
        rows: labels and probabilities.
        bins: number of bins.

    Raises:
        ValueError: fewer than one bin.

    >>> reliability(Rows.of([0.1, 0.2, 1.0], [0, 1, 1]), bins=2).frequency.tolist()
    [0.5, 1.0]
    """
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins}")
    confidence = rows.probabilities[:, 1] if rows.binary else rows.probabilities.max(axis=1)
    happened = rows.positive if rows.binary else rows.correct
    index = _bins(confidence, bins)
    count, *sums = (
        np.bincount(index, values, minlength=bins).astype(np.float64)
        for values in (np.ones(len(rows)), confidence, happened)
    )
    return Reliability(ratio(sums[0], count), ratio(sums[1], count), count.astype(np.int64))


def _bins(confidence: Floats, bins: int) -> Classes:
    return np.digitize(confidence, np.arange(1, bins) / bins)
