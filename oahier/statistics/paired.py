"""Means and paired differences of any per-knee value, or of any metric of row weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from oahier.metrics.registry import Scale
from oahier.metrics.weighted import Floats, Names, weighted_mean
from oahier.statistics.contrasts import Contrast, compare_contrasts, contrast_row
from oahier.statistics.intervals import Statistic
from oahier.statistics.jackknife import LeftOut
from oahier.statistics.tables import Comparison, Summary
from oahier.statistics.values import Values, summarise_values_of


def paired_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    subjects: Sequence[str] | Names,
    *,
    task: str = "",
    metric: str = "mean",
    largest: float = math.inf,
    paired: bool = False,
) -> Comparison:
    """Difference of the mean of a per-knee value, such as a saliency metric, between two models.

    Knees with an undefined value in any table are left out; ``n`` counts the others.

    Args:
        a: ``(seeds, knees)`` or ``(knees,)`` values of the first model.
        b: those of the second, of the same knees in the same order.
        subjects: ``(knees,)``.
        task: goes into the row.
        metric: goes into the row.
        largest: largest difference that two values can have; the interval ends there.
        paired: seed *j* of a and of b belong together.

    Raises:
        ValueError: shapes that do not fit.

    >>> a, b = [0.1, 0.4, 0.2, 0.3, 0.2, 0.1], [0.3, 0.5, 0.5, 0.4, 0.4, 0.3]
    >>> row = paired_difference(a, b, list("abcdef"))
    >>> round(row.difference, 3), row.ci_low > 0, row.p_value, row.scope
    (0.183, True, 0.03125, 'one run')
    """
    left, right = _knee_values("a", a, subjects), _knee_values("b", b, subjects)
    statistics, names = _means_of_defined(np.concatenate([left, right]), subjects)
    sides = (statistics[: len(left)], statistics[len(left) :])
    return paired_statistic(*sides, names, task=task, metric=metric, largest=largest, paired=paired)


def paired_statistic(
    a: Sequence[Statistic],
    b: Sequence[Statistic],
    subjects: Sequence[str] | Names,
    *,
    task: str = "",
    metric: str = "",
    smaller: bool = False,
    margin: float = math.nan,
    largest: float = math.inf,
    paired: bool = False,
) -> Comparison:
    """Difference of any metric that is a function of row weights, one function a seed of each model.

    Args:
        a: functions of the first model: weights ``(resamples, rows)`` to values ``(resamples,)``.
        b: those of the second.
        subjects: ``(rows,)``.
        task: goes into the row.
        metric: goes into the row.
        smaller: smaller values are better.
        margin: largest difference that does not matter.
        largest: largest difference that two values can have; the interval ends there.
        paired: seed *j* of a and of b belong together.
    """
    names = np.asarray(subjects, dtype=str)
    contrast = Contrast(metric, a, b, smaller=smaller, margin=margin, largest=largest)
    (row,) = compare_contrasts([contrast], names, task=task, paired=paired)
    return row


def paired_left_out(
    a: Sequence[LeftOut],
    b: Sequence[LeftOut],
    rows: int,
    *,
    task: str = "",
    metric: str = "",
    largest: float = math.inf,
    paired: bool = False,
) -> Comparison:
    """What :func:`paired_statistic` gives, of values that were computed once for each model.

    Args:
        a: of the first model, one a seed: its metric with and without each subject.
        b: of the second model, on the same rows.
        rows: how many rows they are of.
        task: goes into the row.
        metric: goes into the row.
        largest: largest difference that two values can have; the interval ends there.
        paired: seed *j* of a and of b belong together.

    >>> from oahier.statistics.jackknife import leave_out
    >>> mean = partial(weighted_mean, values=np.array([0.1, 0.4, 0.2, 0.3]))
    >>> more = partial(weighted_mean, values=np.array([0.3, 0.5, 0.5, 0.4]))
    >>> before = [leave_out([one], list("abcd")) for one in (mean, more)]
    >>> paired_left_out(before[:1], before[1:], 4) == paired_statistic([mean], [more], list("abcd"))
    True
    """
    everything = (*a, *b)
    left = LeftOut(
        np.concatenate([one.values for one in everything]),
        np.concatenate([one.without for one in everything]),
        everything[0].subjects,
    )
    # a contrast of values that are there already: its functions are only counted
    contrast = Contrast(metric, [_known] * len(a), [_known] * len(b), largest=largest)
    return contrast_row(contrast, left, rows, task, paired)


def _known(weights: npt.NDArray[np.floating]) -> Floats:
    """Stands for a metric whose values are there."""
    raise NotImplementedError("the values of this contrast were computed before")


def summarise_values(
    values: npt.NDArray[np.floating],
    subjects: Sequence[str],
    *,
    task: str = "",
    metric: str = "mean",
    scale: Scale = "identity",
) -> Summary:
    """Mean of a per-knee value, such as a saliency metric, with its interval over subjects and seeds.

    Knees with an undefined value in any seed are left out; ``knees`` counts the others.

    Args:
        values: ``(seeds, knees)``.
        subjects: ``(knees,)``.
        task: goes into the row.
        metric: goes into the row.
        scale: on which the interval is symmetric (:mod:`oahier.statistics.scales`): the logarithm for what is
            never negative, the logit for shares.

    Raises:
        ValueError: shapes that do not fit.

    >>> row = summarise_values(np.array([[0.1, 0.4, 0.4, np.nan]]), ["s1", "s2", "s3", "s4"])
    >>> round(row.value, 3), row.knees, round(row.ci_low, 3), round(row.ci_high, 3)
    (0.3, 3, -0.13, 0.73)
    """
    if values.ndim != 2 or values.shape[1] != len(subjects):
        raise ValueError(f"values: expected (seeds, {len(subjects)} knees), got {values.shape}")
    statistics, names = _means_of_defined(np.asarray(values, dtype=np.float64), subjects)
    (row,) = summarise_values_of([Values(metric, statistics, scale=scale)], names, task=task)
    return row


def _means_of_defined(values: Floats, subjects: Sequence[str] | Names) -> tuple[list[Statistic], Names]:
    """The mean of every row of ``(tables, knees)`` over the knees that all define, and their subjects."""
    kept = np.isfinite(values).all(axis=0)
    return [partial(weighted_mean, values=row[kept]) for row in values], np.asarray(subjects, str)[kept]


def _knee_values(name: str, values: npt.ArrayLike, subjects: Sequence[str] | Names) -> Floats:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] != len(subjects) or len(table) == 0:
        raise ValueError(
            f"{name}: expected shape (seeds, {len(subjects)}), a column for each of subjects, "
            f"got {np.shape(values)}"
        )
    return table
