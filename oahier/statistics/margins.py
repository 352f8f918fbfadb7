"""Stated margins: the largest difference of each metric that does not matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Margins = Mapping[str, float]
"""By metric; under the empty name for all others."""
NO_MARGINS: Margins = {}


def margin_of(margins: Margins, metric: str) -> float:
    """The margin of a metric; NaN where none was stated.

    >>> margin_of({"": 0.05, "mae": 0.1}, "mae"), margin_of({"": 0.05}, "qwk")
    (0.1, 0.05)
    """
    return margins.get(metric, margins.get("", math.nan))


def parse_margins(words: Sequence[str]) -> Margins:
    """Margins as options state them: ``0.05`` for all metrics, ``qwk=0.05`` for one.

    Raises:
        ValueError: something else, or a margin that is not above 0.

    >>> parse_margins(["0.05", "mae=0.1"])
    {'': 0.05, 'mae': 0.1}
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not 0 < found[name] < math.inf:
            raise ValueError(f"margin: expected a number above 0, or METRIC=number, got {word!r}")
    return found
