r"""Standard errors of means over trained models, with seeds in the place of readers.

A model's value is :math:`\theta_{ij}`, of arm *i* (a recipe) and seed *j*, measured on the same knees as all
others. Obuchowski & Rockette 1995 (doi:10.1080/03610919508813243) let errors of the values be correlated,
since knees are shared: covariances between seeds of one arm, :math:`c_2`, and between seeds of two arms,
:math:`c_3`, come from the knees (jackknife or DeLong), the spread over seeds from a mean square. Degrees of
freedom are those of Hillis 2007 (doi:10.1002/sim.2532).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oahier.metrics.weighted import Floats


@dataclass(frozen=True)
class Spread:
    """Standard error of an estimate and the degrees of freedom of its t distribution."""

    error: float
    df: float


def fixed_seeds(covariance: Floats, contrast: Floats, df: float) -> Spread:
    """Spread over knees alone: the trained models stay what they are.

    Args:
        covariance: ``(models, models)`` over knees.
        contrast: ``(models,)`` weights of the estimate.
        df: degrees of freedom, units of the jackknife minus one.
    """
    variance = float(contrast @ covariance @ contrast)
    scale = float(np.abs(contrast) @ np.abs(np.diag(covariance)))
    return Spread(math.sqrt(variance) if variance > 1e-12 * scale else variance * 0.0, df)


def random_seeds_of_one(values: Floats, covariance: Floats, df: float) -> Spread:
    r"""Spread of the mean of one arm over knees and seeds.

    :math:`(MS_R + \max(r c_2, 0)) / r` with :math:`MS_R` the variance of the *r* values (Hillis 2007, section
    4.3).

    Args:
        values: ``(seeds,)``.
        covariance: ``(seeds, seeds)`` over knees.
        df: most degrees of freedom, those of the knees.
    """
    seeds = len(values)
    if seeds < 2:
        return Spread(math.nan, math.nan)
    mean_square = float(np.var(values, ddof=1))
    return _spread([mean_square / seeds], [seeds - 1], mean_off_diagonal(covariance), df)


def random_seeds(a: Floats, b: Floats, covariance: Floats, *, paired: bool, df: float = math.inf) -> Spread:
    r"""Spread of the difference of two arms' means over knees and seeds.

    Paired seeds (readers read in both arms; Hillis 2007): the variance is
    :math:`\frac{2}{r} (MS_{TR} + \max(r (c_2 - c_3), 0))`, its degrees of freedom
    :math:`(MS_{TR} + \max(r (c_2 - c_3), 0))^2 / (MS_{TR}^2 / (r - 1))`. Nested seeds (each arm has its own):
    :math:`\sum_i MS_i / r_i + \max(c_{2,1} + c_{2,2} - 2 c_3, 0)` with the variance :math:`MS_i` of each arm,
    degrees of freedom after Satterthwaite 1946 (doi:10.2307/3002019), :math:`c_3` over all pairs of seeds.

    Args:
        a: ``(seeds,)`` values of the first arm.
        b: those of the second; as many, in the same order, where they are paired.
        covariance: ``(seeds of a + seeds of b,) * 2`` over knees.
        paired: seed *j* of a and of b belong together.
        df: most degrees of freedom, those of the knees.

    Returns:
        NaN where an arm has one seed.

    Raises:
        ValueError: paired arms of different numbers of seeds.
    """
    first, second = len(a), len(b)
    if paired and first != second:
        raise ValueError(f"paired seeds: expected as many models on each side, got {first} and {second}")
    if min(first, second) < 2:
        return Spread(math.nan, math.nan)
    within_a, within_b = covariance[:first, :first], covariance[first:, first:]
    across = covariance[:first, first:]
    if not paired:
        shared = mean_off_diagonal(within_a) + mean_off_diagonal(within_b) - 2 * float(across.mean())
        squares = [float(np.var(side, ddof=1)) / len(side) for side in (a, b)]
        return _spread(squares, [first - 1, second - 1], shared, df)
    within = (mean_off_diagonal(within_a) + mean_off_diagonal(within_b)) / 2
    interaction = float(np.var(b - a, ddof=1)) / 2
    shared = 2 * (within - mean_off_diagonal(across))
    return _spread([2 * interaction / first], [first - 1], shared, df)


def _spread(squares: list[float], freedoms: list[int], shared: float, most: float) -> Spread:
    """Parts of the variance that seeds add, with their degrees of freedom, and the part of the knees."""
    variance = sum(squares) + max(shared, 0.0) if shared == shared else math.nan
    if variance != variance:
        return Spread(math.nan, math.nan)
    uncertain = sum(part**2 / freedom for part, freedom in zip(squares, freedoms, strict=True))
    df = variance**2 / uncertain if uncertain > 0 else math.inf
    return Spread(math.sqrt(variance), min(df, most))


def mean_off_diagonal(covariance: Floats) -> float:
    """Mean covariance of different seeds."""
    return float(covariance[~np.eye(len(covariance), dtype=bool)].mean())
