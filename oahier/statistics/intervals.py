r"""Resampling of subjects, and what is read off the resampled values.

Two knees of one subject are not independent, so subjects are drawn, not knees (cluster bootstrap; Field
& Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). Instead of copying rows, every resample is a vector
of row weights, so all resamples of a metric are a few matrix products.

The order of drawing is that of a plain loop ``generator.integers(0, subjects, subjects)``, subjects sorted
by name, so that anyone can repeat the resamples without this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oahier.metrics.weighted import Floats, Names, Weights

Statistic = Callable[[Weights], Floats]
"""Row weights ``(resamples, rows)`` to values ``(resamples,)``, NaN where undefined."""

TIE = 1e-12
"""Differences no larger than this are rounding errors and count as zero."""

_CHUNK_CELLS = 500_000
_EXACT_IN_FLOAT32 = 4096
"""Up to this many rows in a resample, pair counts of an AUC are exact in float32."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval and how many resamples had no defined value."""

    low: float
    high: float
    undefined: int


def weight_chunks(
    subjects: Sequence[str] | Names, resamples: int, generator: np.random.Generator
) -> Iterator[Weights]:
    """The row weights of all resamples, a few hundred resamples at a time, so that memory stays bounded.

    Args:
        subjects: ``(rows,)`` subject of each row; all rows of a subject are drawn together.
        resamples: number of resamples over all chunks.
        generator: draws ``integers(0, subjects, subjects)`` for one resample after the other.

    Raises:
        ValueError: no rows, or fewer than one resample.
    """
    if len(subjects) == 0 or resamples < 1:
        raise ValueError(f"expected at least one row and one resample, got {len(subjects)} and {resamples}")
    names, index, rows_each = np.unique(
        np.asarray(subjects, dtype=str), return_inverse=True, return_counts=True
    )
    units, most_rows = len(names), len(names) * int(rows_each.max())
    dtype: type[np.floating] = np.float32 if most_rows <= _EXACT_IN_FLOAT32 else np.float64
    as_rows = slice(None) if np.array_equal(index, np.arange(units)) else index
    chunk = max(1, _CHUNK_CELLS // max(units, len(subjects)))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, units, (size, units))
        drawn += units * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        weights: Weights = counts.astype(dtype)
        yield weights[:, as_rows]


def evaluate_statistics(
    statistics: Sequence[Statistic],
    weights: Iterator[Weights],
    resamples: int,
    advance: Callable[[int], None] | None = None,
) -> Floats:
    """Every statistic on the same weights: ``(statistics, resamples)``.

    Args:
        statistics: functions of row weights.
        weights: chunks of ``(some resamples, rows)``.
        resamples: over all chunks.
        advance: told how many values were computed since the last call.
    """
    values = np.empty((len(statistics), resamples))
    start = 0
    for chunk in weights:
        for row, statistic in enumerate(statistics):
            values[row, start : start + len(chunk)] = statistic(chunk)
            if advance is not None:
                advance(len(chunk))
        start += len(chunk)
    return values


def subject_weights(subjects: Sequence[str], resamples: int, seed: int) -> Weights:
    """Row weights ``(resamples, rows)``: how often each row's subject was drawn.

    Raises:
        ValueError: no rows, or fewer than one resample.

    >>> subject_weights(["a", "a", "b"], resamples=2, seed=0).tolist()
    [[0.0, 0.0, 2.0], [1.0, 1.0, 1.0]]
    """
    return np.concatenate(list(weight_chunks(subjects, resamples, np.random.default_rng(seed))))


def percentile_interval(values: Floats, level: float = 0.95) -> Interval:
    """The central ``level`` of the defined values.

    >>> percentile_interval(np.append(np.arange(5.0), np.nan), level=0.5)
    Interval(low=1.0, high=3.0, undefined=1)
    """
    defined = values[np.isfinite(values)]
    undefined = len(values) - len(defined)
    if len(defined) == 0:
        return Interval(float("nan"), float("nan"), undefined)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), undefined)


def bootstrap_p_value(differences: Floats, tie: float = TIE) -> float:
    r"""Two-sided p value of resampled differences.

    :math:`p = \min(1, 2 \min((\#\{d \le 0\} + 1) / (B + 1), (\#\{d \ge 0\} + 1) / (B + 1)))` over the *B*
    defined differences: one resample is added to each side, so that p is never zero (Davison & Hinkley
    1997, Bootstrap Methods and their Application, section 4.2). Differences within ``tie`` of zero count
    on both sides.

    Returns:
        NaN where no difference is defined.

    >>> bootstrap_p_value(np.array([0.1, 0.2, 0.3, -0.1, 0.2, 0.1, 0.4, 0.2, 0.1]))
    0.4
    """
    defined = differences[np.isfinite(differences)]
    if len(defined) == 0:
        return float("nan")
    smaller = min(int((defined <= tie).sum()), int((defined >= -tie).sum()))
    return min(1.0, 2 * ((smaller + 1) / (len(defined) + 1)))
