"""Power of a two-sided t test, and the smallest difference that it finds."""

from __future__ import annotations

import functools
import math

import numpy as np

from oahier.metrics.weighted import Floats

LEVEL = 0.05
POWER = 0.8
_NODES = 200


def power_of(difference: float, error: float, df: float, level: float = LEVEL) -> float:
    r"""Chance that the two-sided test of a true difference has a p value below ``level``.

    That of the noncentral t distribution (Hillis, Obuchowski & Berbaum 2011, doi:10.1016/j.acra.2010.09.007),
    :math:`E[\Phi(\delta - t s) + \Phi(-\delta - t s)]` over :math:`s^2 \sim \chi^2_{df} / df`, by quadrature
    to 1e-6: scipy's loses its digits where differences are large.

    Args:
        difference: the true one.
        error: standard error of its estimate.
        df: degrees of freedom.
        level: of the test.

    >>> round(power_of(0.14, 0.05, float("inf")), 3), round(power_of(0.14, 0.05, 2.0), 3)
    (0.8, 0.352)
    """
    if error != error or df != df:
        return math.nan
    if error == 0:
        return float(difference != 0)
    return _standard_power(abs(difference) / error, df, level)


def detectable(error: float, df: float, power: float = POWER, level: float = LEVEL) -> float:
    """Smallest true difference that the test finds with this power; NaN where there is no standard error.

    >>> round(detectable(0.05, float("inf")), 3), round(detectable(0.05, 2.0), 3)
    (0.14, 0.283)
    """
    if not error > 0 or df != df:
        return error if error == 0 else math.nan
    return error * _standard_difference(round(df, 6), power, level)


def _standard_power(shift: float, df: float, level: float) -> float:
    from scipy.special import ndtr

    edges, weights = _edges(round(df, 6), level)
    return float(weights @ (ndtr(shift - edges) + ndtr(-shift - edges)))


@functools.lru_cache(maxsize=4096)
def _standard_difference(df: float, power: float, level: float) -> float:
    """The difference over its standard error."""
    from scipy.optimize import brentq

    above = 4.0
    while _standard_power(above, df, level) < power:
        above *= 2
    wanted: float = brentq(lambda shift: _standard_power(shift, df, level) - power, 0.0, above, xtol=1e-9)
    return wanted


@functools.lru_cache(maxsize=64)
def _edges(df: float, level: float) -> tuple[Floats, Floats]:
    """Edges of the test in true standard errors, and how much each weighs."""
    from scipy.special import gammaincinv
    from scipy.stats import norm, t

    if df > 1e5:
        return np.array([float(norm.isf(level / 2))]), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    scale = np.sqrt(2 * gammaincinv(df / 2, (nodes + 1) / 2) / df)
    return np.asarray(float(t.isf(level / 2, df)) * scale), np.asarray(weights / 2)
