"""Ratios of times that were measured in turn, with an interval that assumes no distribution."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

ERROR = 0.01
"""Probability of each end of an interval to miss; with five candidates, 0.05 that one is taken wrongly."""


@dataclass(frozen=True)
class Estimate:
    """A median with its interval.

    Args:
        median: of the values.
        low: lower end; ``-inf`` where there are too few values to have one.
        high: upper end.
    """

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float], error: float = ERROR) -> Estimate:
    """Interval for the median between two order statistics (sign test; Conover 1999, section 3.2).

    The ends are the ``k``-th smallest and ``k``-th largest value, with the largest ``k`` for which
    ``P(Binomial(n, 1/2) < k) <= error``: 5 of 20 values.

    Args:
        values: one or more, independent.
        error: probability that the median lies below, and that it lies above.

    >>> median_interval([float(value) for value in range(1, 21)])
    Estimate(median=10.5, low=5.0, high=16.0)
    >>> median_interval([1.0, 2.0, 3.0])
    Estimate(median=2.0, low=-inf, high=inf)
    """
    ordered, count = sorted(values), len(values)
    rank = 0
    while rank < count // 2 and stats.binom.cdf(rank, count, 0.5) <= error:
        rank += 1
    ends = (ordered[rank - 1], ordered[-rank]) if rank else (float("-inf"), float("inf"))
    return Estimate(statistics.median(ordered), *ends)
