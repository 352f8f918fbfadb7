"""Number of grades that an axis can tell apart, from scans that were repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats, Weights
from oahier.statistics.intervals import percentile_interval, subject_weights

FEWEST = 10
"""Subjects with repeated scans with whom a standard error of measurement is reported."""
RANGE = (0.025, 0.975)
"""Quantiles of the knees between which the range of the axis lies."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Discernible:
    """Repeatability of an axis; NaN with the reason where it is not known."""

    grades: float
    """How many severities can be told apart."""
    ci_low: float
    ci_high: float
    error: float
    """Standard error of measurement, in units of the axis."""
    range: float
    """From the 2.5th to the 97.5th percentile of the knees, in units of the axis."""
    scans: int
    """Scans of knees that were scanned more than once."""
    subjects: int
    """Subjects whom they belong to."""
    note: str = ""


def discernible_grades(
    projection: npt.NDArray[np.float64],
    repeats: Sequence[str],
    subjects: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Discernible:
    r"""Range of an axis over the smallest difference of two scans that is not measurement error.

    :math:`(q_{.975} - q_{.025}) / (1.96 \sqrt 2\, \mathrm{SEM})` with the standard error of measurement
    :math:`\mathrm{SEM}^2 = \sum_{ks} (x_{ks} - \bar x_k)^2 / \sum_k (n_k - 1)` over knees *k* scanned
    :math:`n_k` times (Bland & Altman 1996, doi:10.1136/bmj.312.7047.1654). The number depends on the knees as
    much as on the axis: without severe ones the range is short. Bowes et al. 2021 (PMC7958089) report 40 for
    the bone shape score of the femur in the whole OAI.

    Scans may be repeats of the knee, or one scan augmented twice: then the error is that to the augmentation
    alone, a lower bound. The interval is a percentile bootstrap over subjects, range and error together.

    Args:
        projection: ``(scans,)`` coordinates along an axis that was fitted on other knees.
        repeats: ``(scans,)`` equal for scans of one knee between which nothing changed; ``""`` for scans that
            have no other. They count in the range.
        subjects: ``(scans,)``.
        resamples: of the interval.
        seed: of the interval.

    >>> scans = np.repeat(np.linspace(0.0, 40.0, 41), 2) + np.tile([0.5, -0.5], 41)
    >>> knees = [str(scan // 2) for scan in range(82)]
    >>> found = discernible_grades(scans, knees, knees)
    >>> round(found.error, 2), round(found.range, 1), round(found.grades, 1)
    (0.71, 39.0, 19.9)
    """
    known = np.isfinite(projection)
    x, who = projection[known], np.asarray(subjects, dtype=str)[known]
    names = np.asarray(repeats, dtype=str)[known]
    squares, freedom = _deviations(x, names)
    scans = freedom > 0
    people = len(np.unique(who[scans]))
    if people < FEWEST:
        why = f"{people} subjects with repeated scans, {FEWEST} are needed"
        nan = math.nan
        return Discernible(nan, nan, nan, nan, nan, int(scans.sum()), people, why)
    ones = np.ones((1, len(x)))
    error, wide = _error(ones, squares, freedom), _range(ones, x)
    drawn = subject_weights(who.tolist(), resamples, seed).astype(np.float64)
    interval = percentile_interval(_count(_range(drawn, x), _error(drawn, squares, freedom)))
    number = float(_count(wide, error)[0])
    note = "" if math.isfinite(number) else "repeated scans are equal"
    return Discernible(
        number, interval.low, interval.high, float(error[0]), float(wide[0]), int(scans.sum()), people, note
    )


def _deviations(x: Floats, names: npt.NDArray[np.character]) -> tuple[Floats, Floats]:
    """Squared deviation of each scan from its knee's mean, and its share of the degrees of freedom."""
    squares, freedom = np.zeros(len(x)), np.zeros(len(x))
    for name in np.unique(names[names != ""]):
        rows = np.flatnonzero(names == name)
        if len(rows) > 1:
            squares[rows], freedom[rows] = (x[rows] - x[rows].mean()) ** 2, 1 - 1 / len(rows)
    return squares, freedom


def _error(weights: Weights, squares: Floats, freedom: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt((weights @ squares) / (weights @ freedom)))


def _range(weights: Weights, x: Floats) -> Floats:
    order = np.argsort(x)
    share = np.cumsum(weights[:, order], axis=1)
    share /= share[:, -1:]
    low, high = (x[order][(share >= quantile - 1e-12).argmax(axis=1)] for quantile in RANGE)
    return np.asarray(high - low)


def _count(wide: Floats, error: Floats) -> Floats:
    return np.asarray(wide / np.where(error > 0, 1.96 * math.sqrt(2) * error, np.nan))
