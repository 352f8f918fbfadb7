"""Values of one model with intervals from what leaving out subjects changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oahier.metrics.registry import Scale
from oahier.metrics.weighted import Names
from oahier.statistics.intervals import TIE, Statistic
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.obuchowski_rockette import fixed_seeds, random_seeds_of_one
from oahier.statistics.scales import scaled_interval
from oahier.statistics.tables import Scope, Summary


@dataclass(frozen=True, eq=False)
class Values:
    """One metric of one model, as functions of row weights, one a seed."""

    metric: str
    seeds: Sequence[Statistic]
    share: bool = False
    scale: Scale = "identity"


def summarise_values_of(
    values: Sequence[Values], subjects: Names, *, task: str = "", advance: Callable[[int], None] | None = None
) -> list[Summary]:
    """A row for each metric of one model, all from the same subjects left out."""
    left = leave_out([seed for one in values for seed in one.seeds], subjects, advance=advance)
    start, found = 0, []
    for one in values:
        stop = start + len(one.seeds)
        found.append(value_row(one, left.rows(start, stop), len(subjects), task))
        start = stop
    return found


def value_row(one: Values, left: LeftOut, rows: int, task: str) -> Summary:
    """The row of one metric, from its values with and without each subject."""
    seeds, value = len(one.seeds), float(np.mean(left.values))
    covariance, most = left.covariance, float(left.units - 1)
    spread = fixed_seeds(covariance, np.full(seeds, 1 / seeds), most)
    scope: Scope = "one run"
    if seeds > 1:
        recipe = random_seeds_of_one(left.values, covariance, most)
        spread, scope = (recipe, "recipe") if recipe.error > 0 else (spread, "trained models")
    low, high = scaled_interval(value, spread, one.scale) if left.subjects > 1 else (math.nan, math.nan)
    if one.share and left.subjects > 1 and not spread.error > 0:
        low, high = _exact_share(value, left.subjects)
    return Summary(
        task=task,
        metric=one.metric,
        value=value,
        ci_low=low,
        ci_high=high,
        seed_sd=float(np.std(left.values, ddof=1)) if seeds > 1 else math.nan,
        seeds=seeds,
        knees=rows,
        subjects=left.subjects,
        scope=scope if math.isfinite(low) else "nothing",
        undefined=int((~np.isfinite(left.without)).any(axis=0).sum()),
    )


def _exact_share(value: float, subjects: int) -> tuple[float, float]:
    """Clopper & Pearson 1934 (doi:10.1093/biomet/26.4.404) where all subjects are right, or none is."""
    if value > 1 - TIE:
        return 0.025 ** (1 / subjects), 1.0
    if value < TIE:
        return 0.0, 1 - 0.025 ** (1 / subjects)
    return math.nan, math.nan
