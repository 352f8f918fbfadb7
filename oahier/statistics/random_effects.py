"""Mean difference over few encoders that share their test knees, as a sample of encoders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oahier.metrics.weighted import Floats
from oahier.statistics.obuchowski_rockette import Spread


@dataclass(frozen=True)
class Summary:
    """A random-effects mean, its spread, and the variance between encoders."""

    mean: float
    spread: Spread
    between: float


def random_effects(effects: Floats, covariance: Floats) -> Summary:
    r"""Random-effects mean with the t interval of Hartung and Knapp, for effects that may be correlated.

    Weights :math:`w_i \propto 1 / (v_i + \tau^2)`, of sum 1, with DerSimonian and Laird's :math:`\tau^2`, at
    least 0. The squared standard error is the larger of

    .. math:: \frac{\sum_i w_i (d_i - \bar d)^2}{k - 1}
        + \frac{\sum_{i \ne j} w_i w_j c_{ij}}{\sum_{i \ne j} w_i w_j}
        \quad\text{and}\quad \sum_i w_i^2 (v_i + \tau^2) + \sum_{i \ne j} w_i w_j c_{ij} .

    The first term is Hartung and Knapp's; what the same knees add to all effects alike moves none of them
    from the mean, so the mean covariance is added, where it is above 0. The second is the usual normal one:
    few effects that happen to agree do not make the interval shorter than that. There are :math:`k - 1`
    degrees of freedom. Hartung & Knapp 2001 (doi:10.1002/sim.1009); IntHout, Ioannidis & Borm 2014
    (doi:10.1186/1471-2288-14-25); DerSimonian & Laird 1986 (doi:10.1016/0197-2456(86)90046-2).

    Args:
        effects: ``(k,)`` differences, one an encoder.
        covariance: ``(k, k)``; squared standard errors on its diagonal.

    Returns:
        all NaN of fewer than two effects, or where one or its standard error is undefined.

    >>> found = random_effects(np.array([0.10, 0.02, 0.06]), np.diag([0.02, 0.03, 0.02]) ** 2)
    >>> round(found.mean, 4), round(found.spread.error, 4), found.spread.df
    (0.0642, 0.0223, 2.0)
    """
    count, variances = len(effects), np.diag(covariance)
    if count < 2 or not (np.isfinite([*effects, *covariance.ravel()]).all() and (variances > 0).all()):
        return Summary(math.nan, Spread(math.nan, math.nan), math.nan)
    between = _between(effects, variances)
    weight = 1 / (variances + between)
    weight = weight / weight.sum()
    mean = float(weight @ effects)
    products = np.outer(weight, weight)
    apart = ~np.eye(count, dtype=bool)
    shared = float((products * np.maximum(covariance, 0))[apart].sum())
    normal = float(weight**2 @ (variances + between)) + shared
    knapp = float(weight @ (effects - mean) ** 2) / (count - 1) + shared / float(products[apart].sum())
    return Summary(mean, Spread(math.sqrt(max(knapp, normal)), count - 1.0), between)


def _between(effects: Floats, variances: Floats) -> float:
    """Variance between encoders by the method of moments, at least 0 (statsmodels' may be below)."""
    weight = 1 / variances
    total = float(weight.sum())
    spread = float(weight @ (effects - weight @ effects / total) ** 2)
    return max((spread - len(effects) + 1) / (total - float(weight @ weight) / total), 0.0)
