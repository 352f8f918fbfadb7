"""Paired bootstrap over subjects and seeds, for any metric of row weights.

With one trained model on each side only subjects are drawn. With several seeds a side, each resample also
draws as many seeds as there are, with replacement, and the metric is the mean over them (hierarchical
bootstrap; Davison & Hinkley 1997, section 3.8). Seeds of a and b are drawn independently: they are
different training runs. With fewer than about five seeds the spread over seeds is underestimated (by a
factor (S - 1) / S of its variance), so intervals are a lower bound then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats
from oahier.statistics.intervals import (
    TIE,
    Interval,
    Statistic,
    bootstrap_p_value,
    percentile_interval,
    weight_chunks,
)
from oahier.statistics.tables import Comparison, Summary

RESAMPLES = 10_000
SEED = 42

Names = npt.NDArray[np.character]
Sides = Sequence[Sequence[Statistic]]
"""Functions of row weights of each model, one a seed."""


def compare_statistics(
    statistics: Mapping[str, Sides],
    subjects: Names,
    *,
    task: str = "",
    resamples: int = RESAMPLES,
    seed: int = SEED,
    generator: np.random.Generator | None = None,
    tie: float = TIE,
) -> list[Comparison]:
    """Paired differences of functions of row weights, all on the same resamples.

    Args:
        statistics: by metric, the functions of the first and of the second model.
        subjects: ``(rows,)``; without rows all values are undefined.
        task: goes into the rows of the table.
        resamples: number of resamples.
        seed: seed of the resampling.
        generator: draws the subjects instead of one with the seed.
        tie: differences up to this are zero.
    """
    found = []
    for metric, design, values, means in _evaluated(statistics, subjects, resamples, seed, generator):
        a, b = (float(np.mean(side)) for side in values)
        difference, differences = b - a, means[1] - means[0]
        interval, p = percentile_interval(differences), bootstrap_p_value(differences, tie)
        undefined = design.subject_count < 2 or not np.isfinite(difference)
        found.append(
            Comparison(
                task=task,
                metric=metric,
                a=a,
                b=b,
                difference=0.0 if abs(difference) <= TIE else difference,
                ci_low=float("nan") if undefined else interval.low,
                ci_high=float("nan") if undefined else interval.high,
                p_value=float("nan") if undefined else p,
                test="paired_bootstrap",
                n=len(subjects),
                p_adjusted=float("nan") if undefined else p,
                correction="none",
                effect="standardised_difference",
                effect_size=_standardised(difference, differences),
                subjects=design.subject_count,
                seeds=min(design.seeds),
                resampled=design.resampled,
                undefined=interval.undefined,
            )
        )
    return found


def summarise_statistics(
    statistics: Mapping[str, Sequence[Statistic]],
    subjects: Names,
    *,
    task: str = "",
    resamples: int = RESAMPLES,
    seed: int = SEED,
    shares: Collection[str] = (),
) -> list[Summary]:
    """Functions of row weights of one model with their intervals, all on the same resamples.

    Args:
        statistics: by metric, one function a seed.
        subjects: ``(rows,)``; without rows all values are undefined.
        task: goes into the rows of the table.
        resamples: number of resamples.
        seed: seed of the resampling.
        shares: metrics that are shares of rows, with an exact interval where all resamples are the same.
    """
    sides = {metric: (seeds,) for metric, seeds in statistics.items()}
    found = []
    for metric, design, (values,), (means,) in _evaluated(sides, subjects, resamples, seed, None):
        interval = _with_spread(means, design.subject_count if metric in shares else 0)
        single = design.subject_count < 2 or not np.isfinite(values).all()
        found.append(
            Summary(
                task=task,
                metric=metric,
                value=float(np.mean(values)),
                ci_low=float("nan") if single else interval.low,
                ci_high=float("nan") if single else interval.high,
                seed_sd=float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
                seeds=len(values),
                knees=len(subjects),
                subjects=design.subject_count,
                resampled=design.resampled,
                undefined=interval.undefined,
            )
        )
    return found


@dataclass(frozen=True, eq=False)
class Design:
    """What is resampled: the subjects of the rows and the seeds of each side."""

    subjects: Names
    seeds: tuple[int, ...]

    @property
    def subject_count(self) -> int:
        """Number of subjects."""
        return len(np.unique(self.subjects))

    @property
    def resampled(self) -> str:
        """What the table says."""
        if self.subject_count < 2:
            return "nothing"
        return "subjects and seeds" if max(self.seeds) > 1 else "subjects"

    @property
    def independent(self) -> bool:
        """True where every row is a subject and each side one model: what classical tests assume."""
        return max(self.seeds) == 1 and self.subject_count == len(self.subjects)


def resampled_values(
    statistics: Sequence[Statistic],
    subjects: Sequence[str] | Names,
    resamples: int,
    generator: np.random.Generator,
) -> Floats:
    """Every statistic on the same resamples: ``(statistics, resamples)``."""
    values = np.empty((len(statistics), resamples))
    start = 0
    for weights in weight_chunks(subjects, resamples, generator):
        for row, statistic in enumerate(statistics):
            values[row, start : start + len(weights)] = statistic(weights)
        start += len(weights)
    return values


def _evaluated(
    statistics: Mapping[str, Sides],
    subjects: Names,
    resamples: int,
    seed: int,
    generator: np.random.Generator | None,
) -> Iterator[tuple[str, Design, list[Floats], list[Floats]]]:
    """By metric, for each model: values of the sample by seed, and resampled means over the drawn seeds."""
    if not statistics:
        return
    design = Design(subjects, tuple(len(side) for side in next(iter(statistics.values()))))
    counts = [_seed_counts(count, resamples, (seed, side)) for side, count in enumerate(design.seeds, 1)]
    flat = [statistic for sides in statistics.values() for side in sides for statistic in side]
    sample, drawn = np.full(len(flat), np.nan), np.full((len(flat), resamples), np.nan)
    if len(subjects):
        sample = np.array([float(statistic(np.ones((1, len(subjects))))[0]) for statistic in flat])
        drawn = resampled_values(flat, subjects, resamples, generator or np.random.default_rng(seed))
    start = 0
    for metric in statistics:
        values, means = [], []
        for drawn_seeds in counts:
            rows = slice(start, start + len(drawn_seeds))
            values.append(sample[rows])
            means.append(_mean_over_seeds(drawn_seeds, drawn[rows]))
            start = rows.stop
        yield metric, design, values, means


def _seed_counts(count: int, resamples: int, seed: tuple[int, int]) -> Floats:
    """How often each seed is in each resample; its stream is not that of the subjects."""
    if count == 1:
        return np.ones((1, resamples))
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    return np.stack([(drawn == one).sum(axis=1).astype(np.float64) for one in range(count)])


def _mean_over_seeds(counts: Floats, values: Floats) -> Floats:
    """Mean over the drawn seeds of ``(seeds, resamples)`` values; NaN where a drawn one is."""
    return np.asarray(np.where(counts > 0, counts * values, 0.0).sum(axis=0) / len(values))


def _standardised(difference: float, differences: Floats) -> float:
    """Difference over its bootstrap standard error; NaN where that is zero or undefined."""
    defined = differences[np.isfinite(differences)]
    error = float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0
    return difference / error if error > TIE else float("nan")


def _with_spread(values: Floats, subjects: int) -> Interval:
    """Percentiles; where all values are one, exact for a share of subjects that is 0 or 1, else undefined."""
    found = percentile_interval(values)
    defined = values[np.isfinite(values)]
    if len(defined) == 0 or np.ptp(defined) > TIE:
        return found
    if subjects and defined[0] > 1 - TIE:
        return Interval(0.025 ** (1 / subjects), 1.0, found.undefined)
    if subjects and defined[0] < TIE:
        return Interval(0.0, 1 - 0.025 ** (1 / subjects), found.undefined)
    return Interval(float("nan"), float("nan"), found.undefined)
