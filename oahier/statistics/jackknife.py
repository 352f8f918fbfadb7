"""Values of metrics when subjects are left out in turn, and the covariances that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats, Names, Weights
from oahier.statistics.intervals import Statistic, evaluate_statistics

ONE_BY_ONE = 1_000
"""Up to this many subjects are left out one at a time."""
GROUPS = 150
"""More subjects are left out in this many groups of nearly equal size, dealt at random."""

_CHUNK_CELLS = 500_000
_AT_ONCE = 4
"""Units left out together, however many rows there are: what is found out of the rows serves all of them."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Values of several statistics of the same rows, with and without each subject (or group of subjects)."""

    values: Floats
    """``(statistics,)`` of all rows."""
    without: Floats
    """``(statistics, units)``; NaN where leaving out a unit leaves nothing to compute."""
    subjects: int

    @property
    def units(self) -> int:
        """How many subjects, or groups of them, were left out in turn."""
        return int(self.without.shape[1])

    def rows(self, start: int, stop: int) -> LeftOut:
        """Some of the statistics."""
        return LeftOut(self.values[start:stop], self.without[start:stop], self.subjects)

    @property
    def covariance(self) -> Floats:
        r"""``(statistics, statistics)`` of the values (Efron & Stein 1981, doi:10.1214/aos/1176345462).

        :math:`\frac{U - 1}{U} \sum_u (\theta_{(u)} - \bar\theta)(\theta_{(u)} - \bar\theta)^T` over
        *U* units. NaN where a value without some unit is undefined, or with fewer than two units.
        """
        if self.units < 2:
            return np.full((len(self.values), len(self.values)), np.nan)
        centred = self.without - self.without.mean(axis=1, keepdims=True)
        return np.asarray((self.units - 1) / self.units * (centred @ centred.T))


def leave_out(
    statistics: Sequence[Statistic],
    subjects: Sequence[str] | Names,
    *,
    advance: Callable[[int], None] | None = None,
) -> LeftOut:
    """Evaluate statistics on all rows, and without each subject.

    All rows of a subject are left out together: two knees of one person are one unit. More than
    ``ONE_BY_ONE`` subjects are left out in ``GROUPS`` groups (delete-a-group jackknife; Kott 2001, Journal of
    Official Statistics 17:521), which costs the standard error a relative noise of 6 %.

    Args:
        statistics: functions of row weights.
        subjects: ``(rows,)``.
        advance: told the number of evaluations done, for a progress bar; there are ``statistics`` x
            :func:`unit_count`.

    >>> mean = lambda weights: weights @ np.array([1.0, 2.0, 6.0]) / weights.sum(axis=1)
    >>> found = leave_out([mean], ["a", "b", "c"])
    >>> found.values.tolist(), found.without.tolist()
    ([3.0], [[4.0, 3.5, 1.5]])
    """
    names = np.asarray(subjects, dtype=str)
    if len(names) == 0:
        empty = np.full((len(statistics), 0), np.nan)
        return LeftOut(np.full(len(statistics), np.nan), empty, 0)
    distinct, index = np.unique(names, return_inverse=True)
    units = unit_count(len(distinct))
    unit = _deal(len(distinct), units)[index]
    sample = evaluate_statistics(statistics, iter([np.ones((1, len(names)))]), 1)[:, 0]
    without = evaluate_statistics(statistics, _weights(unit, units), units, advance)
    if units == 1:
        without = np.full_like(without, np.nan)
    return LeftOut(sample, without, len(distinct))


def unit_count(subjects: int) -> int:
    """How many units so many subjects make.

    >>> unit_count(98), unit_count(9000)
    (98, 150)
    """
    return subjects if subjects <= ONE_BY_ONE else GROUPS


def _deal(subjects: int, units: int) -> npt.NDArray[np.int64]:
    """The unit of each subject; groups are random but the same in every call."""
    if units == subjects:
        return np.arange(subjects)
    return np.random.default_rng(0).permutation(np.arange(subjects) % units)


def _weights(unit: npt.NDArray[np.int64], units: int) -> Iterator[Weights]:
    chunk = max(_AT_ONCE, _CHUNK_CELLS // len(unit))
    for start in range(0, units, chunk):
        left = np.arange(start, min(start + chunk, units))
        yield (unit != left[:, None]).astype(np.float64)
