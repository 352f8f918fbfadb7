"""Comparisons in words that claim no more than their intervals do."""

from __future__ import annotations

import math

from oahier.pages.text import from_to, number, p_equals, p_value, signed
from oahier.statistics.tables import Comparison

SCOPES = {
    "recipe": "for this recipe (new knees, new runs)",
    "trained models": "for these trained models (new knees)",
    "one run": "conditional on the one run a side (new knees)",
    "nothing": "no interval",
}
"""What intervals hold for."""


def sentences(row: Comparison, a: str = "a", b: str = "b") -> list[str]:
    """A sentence for each answer that a row has: for the recipe, and for the trained models as they are.

    Args:
        row: with its corrected p value and verdict.
        a: name of the first model.
        b: name of the second.

    >>> from oahier.statistics.paired import paired_difference
    >>> row = paired_difference([0.1] * 7, [0.2, 0.3, 0.2, 0.4, 0.2, 0.1, 0.3], list("abcdefg"), metric="iou")
    >>> sentences(row)[0].split("; ")[1:]
    ['chance that b is not better 0.016', 'verdict: superior', 'seen with 80 % power: 0.124.']
    """
    name = " ".join(part for part in (row.task, row.metric.replace("_", " ")) if part)
    difference = signed(row.difference, 3) if math.isfinite(row.difference) else "undefined"
    found = [f"{name}, {SCOPES[row.scope]}: {b} - {a} is {difference}{_odds(row, b)}"]
    if row.scope == "recipe":
        low, high = row.models_ci_low, row.models_ci_high
        found.append(
            f"{name}, {SCOPES['trained models']}: {_interval(low, high)}, p {p_equals(row.models_p_value)}."
        )
    if row.note:
        found.append(row.note)
    return found


def _odds(row: Comparison, b: str) -> str:
    parts = [f", {_interval(row.ci_low, row.ci_high)}" if math.isfinite(row.ci_low) else ""]
    if not math.isfinite(row.p_value):
        return f"{parts[0]}; verdict: {row.verdict}."
    adjusted = f" (adjusted {p_equals(row.p_adjusted)})" if row.correction != "none" else ""
    odds = p_value(row.p_not_better).replace("<", "< ")
    parts.append(f", p {p_equals(row.p_value)}{adjusted}; chance that {b} is not better {odds}")
    margin = f" (margin {row.margin:g})" if math.isfinite(row.margin) else ""
    parts.append(f"; verdict: {row.verdict}{margin}")
    if row.detectable == math.inf:
        parts.append("; seen with 80 % power: no possible difference")
    elif math.isfinite(row.detectable):
        parts.append(f"; seen with 80 % power: {number(row.detectable, 3)}")
    return "".join(parts) + "."


def _interval(low: float, high: float) -> str:
    return "no interval" if math.isnan(low) else f"95 % interval {from_to(low, high, signs=True)}"
