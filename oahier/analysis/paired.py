"""Paired differences of any per-knee value or measure of row weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from oahier.analysis.bootstrap import (
    RESAMPLES,
    SEED,
    Comparison,
    Design,
    Seeds,
    compared,
    resampled_values,
    sample_values,
)
from oahier.analysis.intervals import Floats
from oahier.analysis.scores import Statistic
from oahier.analysis.weighted import weighted_mean


def paired_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    subjects: Sequence[str] | npt.NDArray[np.character],
    *,
    task: str = "",
    metric: str = "mean",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Difference of the mean of a per-knee value, such as a measure of saliency, between two models.

    Knees with an undefined value in any table are left out; ``n`` counts the others.

    Args:
        a: ``(seeds, knees)`` or ``(knees,)`` values of the first model.
        b: those of the second, of the same knees in the same order.
        subjects: ``(knees,)``.
        task: goes into the row.
        metric: goes into the row.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: shapes that do not fit.

    >>> row = paired_difference([0.1, 0.4, 0.2], [0.3, 0.5, 0.5], ["s1", "s2", "s3"], resamples=1000)
    >>> round(row.difference, 3), row.ci_low > 0, row.resampled
    (0.2, True, 'subjects')
    """
    left, right, names = (
        _knee_values("a", a, subjects),
        _knee_values("b", b, subjects),
        np.asarray(subjects, str),
    )
    kept = np.isfinite(left).all(axis=0) & np.isfinite(right).all(axis=0)
    statistics = [partial(weighted_mean, values=values[kept]) for values in (*left, *right)]
    if not kept.any():
        none = np.full(resamples, np.nan)
        empty = Design(names[kept], (len(left), len(right)))
        return compared(task, metric, (np.full(len(left), np.nan), np.full(len(right), np.nan)), none, empty)
    return paired_statistic(
        statistics[: len(left)],
        statistics[len(left) :],
        names[kept],
        task=task,
        metric=metric,
        resamples=resamples,
        seed=seed,
    )


def paired_statistic(
    a: Sequence[Statistic],
    b: Sequence[Statistic],
    subjects: Sequence[str] | npt.NDArray[np.character],
    *,
    task: str = "",
    metric: str = "",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Difference of any measure that is a function of row weights, one function a seed of each model.

    Args:
        a: functions of the first model: weights ``(resamples, rows)`` to values ``(resamples,)``.
        b: those of the second.
        subjects: ``(rows,)``.
        task: goes into the row.
        metric: goes into the row.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: no rows.
    """
    design = Design(np.asarray(subjects, dtype=str), (len(a), len(b)))
    values = sample_values([*a, *b], len(subjects))
    drawn = resampled_values([*a, *b], subjects, resamples, np.random.default_rng(seed))
    seeds = Seeds(design.seeds, resamples, seed)
    differences = seeds.mean(1, drawn[len(a) :]) - seeds.mean(0, drawn[: len(a)])
    return compared(task, metric, (values[: len(a)], values[len(a) :]), differences, design)


def _knee_values(
    name: str, values: npt.ArrayLike, subjects: Sequence[str] | npt.NDArray[np.character]
) -> Floats:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.shape[1] != len(subjects) or len(table) == 0:
        raise ValueError(
            f"{name}: expected shape (seeds, {len(subjects)}), a column for each of subjects, "
            f"got {np.shape(values)}"
        )
    return table
