"""One value a knee, over knees and seeds, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from oahier.analysis.bootstrap import (
    RESAMPLES,
    SEED,
    Design,
    Seeds,
    Summary,
    resampled_values,
    sample_values,
    summarised,
)
from oahier.analysis.weighted import weighted_mean


def summarise_values(
    values: npt.NDArray[np.floating],
    subjects: Sequence[str],
    *,
    task: str = "",
    metric: str = "mean",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Summary:
    """Mean of a per-knee value, such as a measure of saliency, with its interval over subjects and seeds.

    Knees with an undefined value in any seed are left out; ``knees`` counts the others.

    Args:
        values: ``(seeds, knees)``.
        subjects: ``(knees,)``.
        task: goes into the row.
        metric: goes into the row.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: shapes that do not fit.

    >>> row = summarise_values(np.array([[0.1, 0.4, np.nan]]), ["s1", "s2", "s3"], resamples=1000)
    >>> row.value, row.knees, row.ci_low, row.ci_high
    (0.25, 2, 0.1, 0.4)
    """
    if values.ndim != 2 or values.shape[1] != len(subjects):
        raise ValueError(f"values: expected (seeds, {len(subjects)} knees), got {values.shape}")
    kept = np.isfinite(values).all(axis=0)
    names = np.asarray(subjects, dtype=str)[kept]
    design = Design(names, (len(values),))
    if not kept.any():
        return summarised(task, metric, np.full(len(values), np.nan), np.full(resamples, np.nan), design)
    statistics = [partial(weighted_mean, values=row[kept]) for row in values]
    drawn = resampled_values(statistics, names, resamples, np.random.default_rng(seed))
    means = Seeds(design.seeds, resamples, seed).mean(0, drawn)
    return summarised(task, metric, sample_values(statistics, len(names)), means, design)
