"""Paired percentile bootstrap over subjects, for any metric of row weights.

What the paper's evaluation used, and a check of the jackknife that is the default. The trained models stay
as they are: with several seeds a side, the value of each resample is the mean over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from oahier.metrics.weighted import Floats, Names
from oahier.statistics.contrasts import Contrast, judged
from oahier.statistics.intervals import (
    TIE,
    Statistic,
    bootstrap_p_value,
    evaluate_statistics,
    percentile_interval,
    weight_chunks,
)
from oahier.statistics.tables import Comparison

RESAMPLES = 10_000
SEED = 42


def compare_by_bootstrap(
    contrasts: Sequence[Contrast],
    subjects: Names,
    rows: Sequence[Comparison],
    *,
    resamples: int = RESAMPLES,
    generator: np.random.Generator,
    tie: float = TIE,
) -> list[Comparison]:
    """Rows with interval, p value and odds of the bootstrap, all contrasts on the same resamples.

    Args:
        contrasts: metrics of two models.
        subjects: ``(rows,)``.
        rows: of the same contrasts, by :func:`~oahier.statistics.contrasts.compare_contrasts`.
        resamples: number of resamples.
        generator: draws the subjects.
        tie: differences up to this are zero.
    """
    flat = [statistic for one in contrasts for statistic in (*one.a, *one.b)]
    drawn = resampled_values(flat, subjects, resamples, generator)
    start, found = 0, []
    for one, row in zip(contrasts, rows, strict=True):
        middle, stop = start + len(one.a), start + len(one.a) + len(one.b)
        differences = drawn[middle:stop].mean(axis=0) - drawn[start:middle].mean(axis=0)
        found.append(_row(row, differences, tie))
        start = stop
    return found


def _row(row: Comparison, differences: Floats, tie: float) -> Comparison:
    defined = differences[np.isfinite(differences)]
    undefined = row.subjects < 2 or not math.isfinite(row.difference) or len(defined) < 2
    interval, p = percentile_interval(differences), bootstrap_p_value(differences, tie)
    error = float(np.std(defined, ddof=1)) if not undefined else math.nan
    nan = math.nan
    low, high, p = (nan, nan, nan) if undefined else (interval.low, interval.high, p)
    better = -defined if row.better == "smaller" else defined
    odds = nan if undefined else float(((better < -tie).sum() + (better <= tie).sum()) / (2 * len(defined)))
    return judged(
        replace(
            row,
            ci_low=low,
            ci_high=high,
            p_value=p,
            p_adjusted=p,
            p_not_better=odds,
            test="paired_bootstrap",
            standard_error=error,
            df=math.inf,
            effect_size=row.difference / error if error > TIE else nan,
            detectable=2.801585 * error,
            models_ci_low=low,
            models_ci_high=high,
            models_p_value=p,
            scope="nothing" if undefined else "one run" if row.seeds == 1 else "trained models",
            undefined=interval.undefined,
            note="",
        )
    )


def resampled_values(
    statistics: Sequence[Statistic],
    subjects: Sequence[str] | Names,
    resamples: int,
    generator: np.random.Generator,
) -> Floats:
    """Every statistic on the same resamples: ``(statistics, resamples)``."""
    chunks = weight_chunks(subjects, resamples, generator)
    return evaluate_statistics(statistics, chunks, resamples)
