"""Interval, p value, odds, verdict and power of a difference with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from oahier.statistics.obuchowski_rockette import Spread
from oahier.statistics.power import LEVEL
from oahier.statistics.power import detectable as detectable_difference


@dataclass(frozen=True)
class Claim:
    """The numbers of one claim, that a difference is what it is."""

    low: float
    high: float
    p_value: float
    p_not_better: float
    """Chance that the second model is not better, given the data and a flat prior."""
    detectable: float
    """Smallest true difference that a design with this standard error finds with 80 % power."""


def claim(difference: float, spread: Spread, *, smaller: bool = False) -> Claim:
    r"""The claim of a t distribution around a difference.

    :math:`d \pm t_{.975} SE`; :math:`p = 2 P(T > |d| / SE)`; the chance of not better is
    :math:`P(T < -d / SE)` for metrics of which larger values are better; the detectable difference is that of
    :mod:`oahier.statistics.power`, as in the planning of a study.

    Args:
        difference: second minus first model.
        spread: standard error and degrees of freedom; NaN where either is undefined.
        smaller: smaller values are better.

    >>> found = claim(0.1, Spread(0.05, float("inf")))
    >>> round(found.low, 3), round(found.p_value, 3), round(found.p_not_better, 3), round(found.detectable, 2)
    (0.002, 0.046, 0.023, 0.14)
    """
    from scipy.stats import t

    if not spread.error > 0 or not math.isfinite(difference):
        return Claim(*[math.nan] * 5)
    reach = float(t.ppf(1 - LEVEL / 2, spread.df)) * spread.error
    ratio = difference / spread.error
    return Claim(
        difference - reach,
        difference + reach,
        2 * float(t.sf(abs(ratio), spread.df)),
        float(t.cdf(ratio if smaller else -ratio, spread.df)),
        detectable_difference(spread.error, spread.df),
    )


def verdict(
    difference: float, low: float, high: float, p: float, spread: Spread, *, smaller: bool, margin: float
) -> str:
    r"""What may be said of the second model.

    ``superior`` and ``inferior``: the 95 % interval excludes zero and p is below 0.05. With a margin
    *m* also ``equivalent``: two one-sided tests at 0.05 exclude differences of *m* and more
    (:math:`|d| + t_{.95} SE < m`; Schuirmann 1987, doi:10.1007/BF01068419), and ``non-inferior``: the 95 %
    interval excludes being worse by *m*. Else ``undecided``. A difference that excludes zero and yet lies
    within the margin is ``superior within the margin`` or ``inferior within the margin``.

    Args:
        difference: second minus first model.
        low: lower end of its 95 % interval.
        high: upper end.
        p: corrected p value.
        spread: standard error and degrees of freedom.
        smaller: smaller values are better.
        margin: largest difference that does not matter; NaN if none was stated.

    >>> verdict(0.01, -0.01, 0.03, 0.3, Spread(0.01, 97.0), smaller=False, margin=0.05)
    'equivalent'
    """
    from scipy.stats import t

    if not (math.isfinite(low) and math.isfinite(high)):
        return "undecided"
    worst = -high if smaller else low
    tested = spread.error > 0
    reach = float(t.ppf(1 - LEVEL, spread.df)) * spread.error if tested else max(abs(low), abs(high))
    within = abs(difference) + reach < margin if tested else reach < margin
    if p < LEVEL and (low > 0 or high < 0):
        better = (difference > 0) != smaller
        return ("superior" if better else "inferior") + " within the margin" * within
    if within:
        return "equivalent"
    return "non-inferior" if worst > -margin else "undecided"
