r"""Knees and seeds that a difference of two arms needs, by the Obuchowski-Rockette variance model.

The mean difference of two arms of *S* seeds each has the variance

.. math:: \frac{2}{S}\Big(\sigma^2 + \frac{e - c_1 - c_2 + c_3}{n}\Big) + \frac{2 (c_2 - c_3)}{n}

where :math:`\sigma^2` is the variance over seeds, and *e* the error variance of one model's value and
:math:`c_1, c_2, c_3` the error covariances of models of one seed in two arms, of two seeds in one arm, and of
two seeds in two arms, all times the number of knees. Seeds nested in arms have :math:`c_1 = c_3`. Obuchowski
& Rockette 1995 (doi:10.1080/03610919508813243); degrees of freedom after Hillis 2007 (doi:10.1002/sim.2532);
power from the noncentral t distribution (:mod:`oahier.statistics.power`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from oahier.metrics.registry import Metric
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.obuchowski_rockette import mean_off_diagonal
from oahier.statistics.power import LEVEL, POWER, detectable, power_of
from oahier.statistics.sign_flips import FEWEST

_MOST_KNEES = 10_000_000


@dataclass(frozen=True)
class Variances:
    """Variance components of a metric; covariances are those of one knee (times the number of knees).

    >>> design = Variances(seed=0.02**2, error=0.6, same_arm=0.5, other_arm=0.4)
    >>> design.knees(0.05, seeds=5), design.knees(0.05, seeds=10)
    (1868, 937)
    """

    seed: float
    """Over training runs, of the value that an endless test set would give; NaN where it is not known."""
    error: float
    """Of one model's value."""
    same_arm: float
    """Of two seeds of one arm."""
    other_arm: float
    """Of two seeds of two arms."""
    same_seed: float | None = None
    """Of one seed in two arms (same start and order); ``None`` where arms have seeds of their own."""

    def spread(self, knees: int, seeds: int) -> tuple[float, float]:
        """Standard error of the difference of the arms, and its degrees of freedom.

        One seed a side is conditional on the trained models: there is no variance over seeds in it. There are
        never more degrees of freedom than knees minus one.
        """
        pair = self.other_arm if self.same_seed is None else self.same_seed
        if seeds == 1:
            return math.sqrt(max(2 * (self.error - pair) / knees, 0.0)), knees - 1.0
        residual = max(self.error - pair - self.same_arm + self.other_arm, 0.0)
        runs = 2 * (self.seed + residual / knees) / seeds
        variance = runs + 2 * max(self.same_arm - self.other_arm, 0.0) / knees
        arms = 2 if self.same_seed is None else 1
        df = arms * (seeds - 1) * (variance / runs) ** 2 if runs > 0 else math.inf
        return math.sqrt(variance), min(df, knees - 1.0)

    def power(self, difference: float, knees: int, seeds: int, level: float = LEVEL) -> float:
        """Chance that the two-sided test of a true difference has a p value below ``level``.

        Simulated power agrees within .03; with three paired seeds it was up to .04 less (0.86 for 0.9).
        """
        return power_of(difference, *self.spread(knees, seeds), level)

    def knees(self, difference: float, seeds: int, power: float = POWER, level: float = LEVEL) -> int | float:
        """Fewest knees with at least this power; infinite where seeds alone make it unreachable.

        Never fewer than six: five allow no p value below 0.05, whatever they are.
        """
        most = self.power(difference, _MOST_KNEES, seeds, level)
        if not most >= power:
            return math.nan if math.isnan(most) else math.inf
        few, many = FEWEST - 1, _MOST_KNEES
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (
                (few, middle) if self.power(difference, middle, seeds, level) >= power else (middle, many)
            )
        return many

    def detectable(self, knees: int, seeds: int, power: float = POWER, level: float = LEVEL) -> float:
        """Smallest true difference that is found with this power."""
        return detectable(*self.spread(knees, seeds), power, level)


def stated_variances(
    error_sd: float,
    knees: int,
    *,
    seed_sd: float = math.nan,
    arm_correlation: float = 0.5,
    seed_correlation: float = 0.8,
) -> Variances:
    """Components from stated values, for seeds of each arm's own.

    Args:
        error_sd: standard error of one model's value on ``knees`` knees.
        knees: at which it is stated.
        seed_sd: standard deviation of the value over training runs.
        arm_correlation: correlation of the errors of models of two arms (they share the knees).
        seed_correlation: of two seeds of one arm; at least as high.

    Raises:
        ValueError: a value out of range.
    """
    if not error_sd > 0 or knees < 2 or seed_sd < 0:
        raise ValueError(
            f"expected a standard error above 0 on 2 knees or more and seeds' deviation of 0 or more, got "
            f"{error_sd}, {knees}, {seed_sd}"
        )
    if not 0 <= arm_correlation <= seed_correlation <= 1:
        raise ValueError(
            "expected correlations 0 <= arms <= seeds <= 1 (models of one arm are no less alike), got "
            f"{arm_correlation} and {seed_correlation}"
        )
    error = error_sd**2 * knees
    return Variances(seed_sd**2, error, seed_correlation * error, arm_correlation * error)


def pilot_variances(
    a: Sequence[Rows], b: Sequence[Rows], metric: Metric, *, paired: bool = False
) -> Variances:
    """Components from predictions of several seeds of each arm on the same knees.

    Covariances are those of the jackknife over subjects; two knees of a subject are one unit, so "knees"
    are knees at the pilot's number of knees a subject. The variance over seeds is what is left of the mean
    square of the seeds, at least 0. One seed an arm says neither that nor how far seeds agree: both are NaN.

    Args:
        a: rows of each seed of the first arm, of the same knees in the same order.
        b: those of the second.
        metric: the metric.
        paired: seed *j* of a and of b share initialisation and order.

    Raises:
        ValueError: no models, fewer than six subjects, a metric that is undefined without some subject, a
            value or a difference that no subject changes, or paired arms of different numbers of seeds.
    """
    if not a or not b or (paired and len(a) != len(b)):
        raise ValueError(f"expected models of both arms (as many where paired), got {len(a)} and {len(b)}")
    models = [*a, *b]
    left = leave_out([partial(metric, rows=rows) for rows in models], models[0].subject)
    return left_out_variances(left, len(a), len(a[0]), paired=paired, name=metric.title)


def left_out_variances(
    left: LeftOut, first: int, knees: int, *, paired: bool = False, name: str = "the statistic"
) -> Variances:
    """Components from values of any statistic of the models with and without each subject.

    Args:
        left: of all seeds of the first arm, then of the second.
        first: seeds of the first arm.
        knees: rows that the statistics are of.
        paired: see :func:`pilot_variances`.
        name: of the statistic, for messages.

    Raises:
        ValueError: see :func:`pilot_variances`.
    """
    if left.subjects < FEWEST:
        raise ValueError(
            f"expected a pilot of {FEWEST} subjects or more, got {left.subjects}: fewer allow no p value "
            "below 0.05 and say little of variances; use more knees, or state the variances"
        )
    values, covariance = left.values, left.covariance
    if not np.isfinite(covariance).all():
        raise ValueError(f"{name}: it is undefined without some subject; use more knees or another metric")
    _check_variances(name, values, covariance, first)
    blocks = covariance[:first, :first], covariance[first:, first:]
    across = covariance[:first, first:]
    error = float(np.diag(covariance).mean())
    same_seed = float(np.diag(across).mean()) if paired else None
    if len(values) == 2:
        found = Variances(math.nan, error, math.nan, float(across[0, 0]), same_seed)
        return _per_knee(found, knees)
    same_arm = float(np.mean([mean_off_diagonal(block) for block in blocks if len(block) > 1]))
    other_arm = mean_off_diagonal(across) if paired else float(across.mean())
    if same_seed is not None:
        square = float(np.var(values[first:] - values[:first], ddof=1)) / 2
        residual = error - same_seed - same_arm + other_arm
    else:
        sides = [side for side in (values[:first], values[first:]) if len(side) > 1]
        square = float(np.mean([np.var(side, ddof=1) for side in sides]))
        residual = error - same_arm
    seed = max(square - max(residual, 0.0), 0.0)
    return _per_knee(Variances(seed, error, same_arm, other_arm, same_seed), knees)


def _check_variances(name: str, values: Floats, covariance: Floats, first: int) -> None:
    """Refuse a pilot whose knees say nothing of variances."""
    errors = np.diag(covariance)
    if errors.min() <= 1e-15:
        at = int(np.argmin(errors))
        arm, seed = ("first", at + 1) if at < first else ("second", at - first + 1)
        raise ValueError(
            f"{name} of model {seed} of the {arm} arm is {values[at]:g} whichever subject is left "
            "out, as where all predictions are alike or all are right: such a pilot says nothing of "
            "variances; train further, use harder knees, or state the variances"
        )
    difference = np.repeat([-1 / first, 1 / (len(values) - first)], [first, len(values) - first])
    if float(difference @ covariance @ difference) <= 1e-12 * float(errors.mean()):
        raise ValueError(
            f"{name}: the two arms do the same on every knee, so that the pilot says nothing of the "
            "variance of their difference; use predictions of two different models"
        )


def _per_knee(found: Variances, knees: int) -> Variances:
    return replace(
        found,
        error=found.error * knees,
        same_arm=found.same_arm * knees,
        other_arm=found.other_arm * knees,
        same_seed=None if found.same_seed is None else found.same_seed * knees,
    )
