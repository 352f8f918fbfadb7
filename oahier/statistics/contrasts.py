"""Differences of two models, with intervals from what leaving out subjects changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oahier.metrics.weighted import Floats, Names
from oahier.statistics.claims import Claim, claim, verdict
from oahier.statistics.intervals import TIE, Statistic
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.obuchowski_rockette import Spread, fixed_seeds, random_seeds
from oahier.statistics.sign_flips import FEWEST, MOST, sign_flip_test, smallest_p
from oahier.statistics.tables import Comparison, Scope

Advance = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Contrast:
    """One metric of two models, as functions of row weights."""

    metric: str
    a: Sequence[Statistic]
    """Of the first model, one a seed."""
    b: Sequence[Statistic]
    smaller: bool = False
    """Smaller values are better."""
    share: bool = False
    """A share of rows: knees without a difference still bound it."""
    margin: float = math.nan
    largest: float = math.inf
    """Largest difference that two values can have."""
    covariance: Floats | None = None
    """``(seeds of a + seeds of b,) * 2`` in closed form, instead of the jackknife's."""
    closed_form: str = "delong"
    """Name of the test that the closed form makes."""


def compare_contrasts(
    contrasts: Sequence[Contrast],
    subjects: Names,
    *,
    task: str = "",
    paired: bool = False,
    advance: Advance | None = None,
) -> list[Comparison]:
    """A row for each contrast, all from the same subjects left out.

    Args:
        contrasts: metrics of two models.
        subjects: ``(rows,)``; without rows all values are undefined.
        task: goes into the rows.
        paired: seed *j* of a and of b belong together (same initialisation and order of training).
        advance: see :func:`~oahier.statistics.jackknife.leave_out`.
    """
    flat = [statistic for one in contrasts for statistic in (*one.a, *one.b)]
    left, start, found = leave_out(flat, subjects, advance=advance), 0, []
    for one in contrasts:
        stop = start + len(one.a) + len(one.b)
        found.append(contrast_row(one, left.rows(start, stop), len(subjects), task, paired))
        start = stop
    return found


def contrast_row(one: Contrast, left: LeftOut, rows: int, task: str, paired: bool) -> Comparison:
    """The row of one contrast, from its values with and without each subject."""
    seeds = (len(one.a), len(one.b))
    contrast = np.repeat([-1 / seeds[0], 1 / seeds[1]], seeds)
    a, b = left.values[: seeds[0]], left.values[seeds[0] :]
    difference = float(contrast @ left.values)
    difference = 0.0 if abs(difference) <= TIE else difference
    closed = one.covariance is not None
    covariance = left.covariance if one.covariance is None else one.covariance
    most = math.inf if closed else float(left.units - 1)
    fixed = fixed_seeds(covariance, contrast, most)
    recipe = random_seeds(a, b, covariance, paired=paired, df=most) if min(seeds) > 1 else None
    models, test, note = _of_models(difference, fixed, one, left, contrast)
    main, spread = models, fixed
    scope: Scope = "one run" if max(seeds) == 1 else "trained models"
    if recipe is not None and recipe.error > 0:
        main, spread, scope, test = claim(difference, recipe, smaller=one.smaller), recipe, "recipe", _OR
        main = _floored(main, left.subjects)
    elif max(seeds) > 1 and min(seeds) == 1:
        note = note or _ONE_SIDED
    if left.subjects < FEWEST or not math.isfinite(main.low):
        main, models, scope = _without_interval(main), _without_interval(models), "nothing"
    if main.low <= -one.largest and main.high >= one.largest:
        note = " ".join(part for part in (note, excludes_nothing(spread.df)) if part)
    main, models = _possible(main, one.largest), _possible(models, one.largest)
    row = Comparison(
        task=task,
        metric=one.metric,
        a=float(np.mean(a)),
        b=float(np.mean(b)),
        difference=difference,
        ci_low=main.low,
        ci_high=main.high,
        p_value=main.p_value,
        test=test,
        n=rows,
        p_adjusted=main.p_value,
        correction="none",
        effect="standardised_difference",
        effect_size=difference / spread.error if spread.error > 0 else math.nan,
        subjects=left.subjects,
        seeds=min(seeds),
        scope=scope,
        undefined=int((~np.isfinite(left.without)).any(axis=0).sum()),
        p_not_better=main.p_not_better,
        margin=one.margin,
        detectable=main.detectable,
        largest=one.largest,
        standard_error=spread.error,
        df=spread.df,
        better="smaller" if one.smaller else "larger",
        models_ci_low=models.low,
        models_ci_high=models.high,
        models_p_value=models.p_value,
        note=note,
    )
    return judged(row)


def judged(row: Comparison) -> Comparison:
    """The row with the verdict that its interval and corrected p value allow."""
    found = verdict(
        row.difference,
        row.ci_low,
        row.ci_high,
        row.p_adjusted,
        Spread(row.standard_error, row.df),
        smaller=row.better == "smaller",
        margin=row.margin,
    )
    return replace(row, verdict=found)


_OR = "obuchowski_rockette"
_ONE_SIDED = "One side has one model: the interval is for these trained models, not for the recipe."


def _of_models(
    difference: float, spread: Spread, one: Contrast, left: LeftOut, contrast: Floats
) -> tuple[Claim, str, str]:
    """The claim for the trained models as they are, its test, and a sentence on what is unusual."""
    undefined = int((~np.isfinite(left.without)).any(axis=0).sum())
    closed = one.covariance is not None and bool(np.isfinite(one.covariance).all())
    if not math.isfinite(difference) or (undefined and not closed) or left.subjects < 2:
        return claim(math.nan, spread), "jackknife", _undefined(difference, undefined, left.subjects)
    made, test, note = claim(difference, spread, smaller=one.smaller), "jackknife", ""
    if one.covariance is not None:
        test = one.closed_form
    changes = left.units * difference - (left.units - 1) * (contrast @ left.without)
    changes = np.where(np.abs(changes) <= 1e-9, 0.0, changes)
    if left.units == left.subjects and int((changes != 0).sum()) <= MOST and np.isfinite(changes).all():
        p, above = sign_flip_test(-changes if one.smaller else changes)
        made, test = replace(made, p_value=p, p_not_better=_not_better(above, difference)), "sign_flip"
    if not spread.error > 0:
        made, note = _no_spread(difference, one, left, made)
    if left.subjects < FEWEST:
        note = (
            f"{left.subjects} subjects allow no 95 % interval, and no p below {smallest_p(left.subjects):g}."
        )
    return _floored(made, left.subjects), test, note


def _undefined(difference: float, undefined: int, subjects: int) -> str:
    if subjects < 2:
        return "A single subject has no interval." if subjects else "There is no labelled knee."
    if not math.isfinite(difference):
        return "The metric is undefined on these knees: a class is absent, or a score is not finite."
    return f"No interval: without any one of {undefined} subjects a class would be absent."


def _no_spread(difference: float, one: Contrast, left: LeftOut, made: Claim) -> tuple[Claim, str]:
    """Every subject leaves the difference as it is."""
    if made.p_value != made.p_value:
        worse = (difference < 0) != one.smaller
        made = replace(made, p_value=0.0, p_not_better=float(worse))  # all subjects alike; floored later
    if one.share:
        reach = 1 - 0.025 ** (1 / left.subjects)
        ends = max(-1.0, difference - reach), min(1.0, difference + reach)
        sentence = "No subject differs from the others; the interval is that of as many unanimous subjects."
        return replace(made, low=ends[0], high=ends[1]), sentence
    if difference == 0 and np.ptp(left.without[0]) > TIE:
        return replace(
            made, low=0.0, high=0.0, p_value=1.0, p_not_better=0.5
        ), "The models do the same on every knee."
    return replace(made, low=math.nan, high=math.nan), "No interval: no subject differs from the others."


def _not_better(above: float, difference: float) -> float:
    return 0.5 if difference == 0 else above


def _floored(made: Claim, subjects: int) -> Claim:
    """No p below what as many unanimous subjects allow."""
    least = smallest_p(subjects)
    return replace(
        made,
        p_value=max(made.p_value, least),
        p_not_better=min(max(made.p_not_better, least / 2), 1 - least / 2),
    )


def excludes_nothing(df: float) -> str:
    """What is to be said of an interval that holds every possible difference.

    >>> excludes_nothing(1.0)
    'This design (1 degree of freedom) can exclude nothing.'
    """
    freedom = "1 degree of freedom" if f"{df:.2g}" == "1" else f"{df:.2g} degrees of freedom"
    return f"This design ({freedom}) can exclude nothing."


def _possible(made: Claim, largest: float) -> Claim:
    """The interval ends where possible differences do; a larger detectable difference is none."""
    return replace(
        made,
        low=max(made.low, -largest),
        high=min(made.high, largest),
        detectable=math.inf if made.detectable > largest else made.detectable,
    )


def _without_interval(made: Claim) -> Claim:
    return replace(made, low=math.nan, high=math.nan, detectable=math.nan)
