"""Paired bootstrap over subjects and seeds, for any metric of row weights.

With one trained model on each side only subjects are drawn. With several seeds a side, each resample also
draws as many seeds as there are, with replacement, and the metric is the mean over them (hierarchical
bootstrap; Davison & Hinkley 1997, section 3.8). Seeds of a and b are drawn independently: they are
different training runs. With fewer than about five seeds the spread over seeds is underestimated (by a
factor (S - 1) / S of its variance), so intervals are a lower bound then.
"""

from __future__ import annotations

from collections.abc import Sequence
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

RESAMPLES = 10_000
SEED = 42


@dataclass(frozen=True)
class Comparison:
    """One metric of two models: a row of the table that ``oahier compare`` writes.

    An undefined number is NaN. ``a`` and ``b`` are means over seeds; the interval is the percentile 95 %
    interval of the resampled differences.
    """

    task: str
    metric: str
    a: float
    b: float
    difference: float
    """b - a."""
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    """``paired_bootstrap``, ``mcnemar_exact``, ``mcnemar_chi2`` or ``delong``."""
    n: int
    """Knees."""
    p_adjusted: float
    correction: str
    """``none``, ``bh`` or ``holm``."""
    effect: str
    """What ``effect_size`` is: ``standardised_difference`` (difference over its bootstrap standard error)
    or ``discordant_odds_ratio`` (knees only b got right over knees only a got right)."""
    effect_size: float
    subjects: int
    seeds: int
    """Trained models a side (the fewer, if they differ)."""
    resampled: str
    """``subjects``, ``subjects and seeds``, or ``nothing`` with a single subject."""
    undefined: int
    """Resamples without a defined difference; they are in neither interval nor p value."""
    model_a: str = ""
    model_b: str = ""


@dataclass(frozen=True)
class Summary:
    """One metric of one model, over its seeds."""

    task: str
    metric: str
    value: float
    """Mean over seeds."""
    ci_low: float
    ci_high: float
    seed_sd: float
    """Standard deviation over seeds; NaN with one."""
    seeds: int
    knees: int
    subjects: int
    resampled: str
    undefined: int


def resampled_values(
    statistics: Sequence[Statistic],
    subjects: Sequence[str] | npt.NDArray[np.character],
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


def sample_values(statistics: Sequence[Statistic], rows: int) -> Floats:
    """Every statistic on the sample itself: ``(statistics,)``."""
    return np.array([float(statistic(np.ones((1, rows)))[0]) for statistic in statistics])


class Seeds:
    """How often each seed of each side is in each resample, the same for every metric.

    Args:
        sides: number of seeds of each side.
        resamples: number of resamples.
        seed: seed of the drawing, whose stream is not that of the subjects.
    """

    def __init__(self, sides: Sequence[int], resamples: int, seed: int) -> None:
        self._counts = [_seed_counts(count, resamples, (seed, side)) for side, count in enumerate(sides, 1)]

    def mean(self, side: int, values: Floats) -> Floats:
        """Mean over the drawn seeds of ``(seeds, resamples)`` values; NaN where a drawn one is."""
        counts = self._counts[side]
        return np.asarray(np.where(counts > 0, counts * values, 0.0).sum(axis=0) / len(values))


def _seed_counts(count: int, resamples: int, seed: tuple[int, int]) -> Floats:
    if count == 1:
        return np.ones((1, resamples))
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    return np.stack([(drawn == one).sum(axis=1).astype(np.float64) for one in range(count)])


@dataclass(frozen=True, eq=False)
class Design:
    """What is resampled: the subjects of the rows and the seeds of each side."""

    subjects: npt.NDArray[np.character]
    seeds: tuple[int, ...]

    @property
    def subject_count(self) -> int:
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


def compared(
    task: str,
    metric: str,
    sides: tuple[Floats, Floats],
    differences: Floats,
    design: Design,
    tie: float = TIE,
) -> Comparison:
    """The row of a metric: values of the sample by seed, and resampled differences.

    Args:
        task: task of the row.
        metric: metric of the row.
        sides: ``(seeds,)`` values of a and of b on the sample.
        differences: ``(resamples,)``.
        design: what was resampled.
        tie: differences up to this are zero.
    """
    a, b = (float(np.mean(side)) for side in sides)
    difference = b - a
    interval = percentile_interval(differences)
    low, high, p = interval.low, interval.high, bootstrap_p_value(differences, tie)
    if design.subject_count < 2 or not np.isfinite(difference):
        low = high = p = float("nan")
    return Comparison(
        task=task,
        metric=metric,
        a=a,
        b=b,
        difference=0.0 if abs(difference) <= TIE else difference,
        ci_low=low,
        ci_high=high,
        p_value=p,
        test="paired_bootstrap",
        n=len(design.subjects),
        p_adjusted=p,
        correction="none",
        effect="standardised_difference",
        effect_size=_standardised(difference, differences),
        subjects=design.subject_count,
        seeds=min(design.seeds),
        resampled=design.resampled,
        undefined=interval.undefined,
    )


def _standardised(difference: float, differences: Floats) -> float:
    """Difference over its bootstrap standard error; NaN where that is zero or undefined."""
    defined = differences[np.isfinite(differences)]
    error = float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0
    return difference / error if error > TIE else float("nan")


def summarised(
    task: str, metric: str, values: Floats, resampled: Floats, design: Design, share: bool = False
) -> Summary:
    """The row of a metric of one model: ``(seeds,)`` values and ``(resamples,)`` resampled means.

    Args:
        task: task of the row.
        metric: name of the metric.
        values: of the sample, by seed.
        resampled: means over seeds, by resample.
        design: what was resampled.
        share: the metric is a share of rows, which has an exact interval where all resamples are the same.
    """
    interval = _with_spread(resampled, design.subject_count if share else 0)
    single = design.subject_count < 2 or not np.isfinite(values).all()
    return Summary(
        task=task,
        metric=metric,
        value=float(np.mean(values)),
        ci_low=float("nan") if single else interval.low,
        ci_high=float("nan") if single else interval.high,
        seed_sd=float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
        seeds=len(values),
        knees=len(design.subjects),
        subjects=design.subject_count,
        resampled=design.resampled,
        undefined=interval.undefined,
    )


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
