"""Scales on which the interval of a metric is symmetric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from oahier.metrics.registry import Scale
from oahier.statistics.obuchowski_rockette import Spread

Function = Callable[[float], float]
_SCALES: Mapping[str, tuple[Function, Function, Function]] = {
    "logit": (
        lambda x: math.log(x / (1 - x)),
        lambda x: 1 / (x * (1 - x)),
        lambda y: 1 / (1 + math.exp(-y)) if y > -700 else 0.0,
    ),
    "fisher": (math.atanh, lambda x: 1 / (1 - x * x), math.tanh),
    "log": (math.log, lambda x: 1 / x, lambda y: math.exp(y) if y < 700 else math.inf),
}
"""By name: the function, its derivative and its inverse."""


def scaled_interval(value: float, spread: Spread, scale: Scale, level: float = 0.95) -> tuple[float, float]:
    r"""A t interval on a scale, carried back: :math:`g^{-1}(g(\theta) \pm t_{df}\, g'(\theta)\, SE)`.

    It does not leave the values that the metric can take, and is lopsided near their ends. The logit is for
    shares and areas, Fisher's for correlations and kappas, the logarithm for errors. The coverage of each is
    in ``docs/concepts/coverage.md``.

    Returns:
        NaN without a spread, or at an end of the scale, where the standard error says nothing.

    >>> [round(end, 3) for end in scaled_interval(0.9, Spread(0.05, float("inf")), "logit")]
    [0.752, 0.964]
    >>> [round(end, 3) for end in scaled_interval(0.9, Spread(0.05, float("inf")), "identity")]
    [0.802, 0.998]
    """
    from scipy.stats import t

    if not spread.error > 0:
        return math.nan, math.nan
    reach = float(t.ppf((1 + level) / 2, spread.df)) * spread.error
    if scale == "identity":
        return value - reach, value + reach
    forward, derivative, inverse = _SCALES[scale]
    try:
        middle, wide = forward(value), reach * derivative(value)
    except (ValueError, ZeroDivisionError):  # at or beyond an end of the scale
        return math.nan, math.nan
    return inverse(middle - wide), inverse(middle + wide)
