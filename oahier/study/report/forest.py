"""Paired differences, arranged for forest plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oahier.study.report.contents import Contents
from oahier.study.report.names import arrow, level_name, method_name, metric_name, smaller_is_better
from oahier.study.report.text import interval, p_value, signed

SIGNIFICANT = 0.05
AXIS_ROWS = ("spearman_kl", "spearman_oa", "probe_auc", "straightness", "monotonicity", "separation")
SALIENCY_ROWS = ("enrichment",)


@dataclass(frozen=True)
class ForestRow:
    """One difference."""

    label: str
    difference: float
    low: float
    high: float
    p_adjusted: float
    favoured: str | None
    """The level that does better; ``None`` for no difference."""

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below 0.05."""
        return self.p_adjusted < SIGNIFICANT

    @property
    def note(self) -> str:
        """The numbers, as printed beside the interval."""
        text = f"{signed(self.difference)} {interval(self.low, self.high)}".strip()
        return text if math.isnan(self.p_adjusted) else f"{text}, p {p_value(self.p_adjusted)}"


@dataclass(frozen=True)
class ForestPanel:
    """All differences between two levels within one group and task."""

    group: str
    section: str
    model_a: str
    model_b: str
    probe_a: bool
    probe_b: bool
    rows: Sequence[ForestRow]

    @property
    def pair(self) -> str:
        """Which is taken from which; probes have a dagger."""
        a, b = (
            level_name(level) + "†" * probe
            for level, probe in ((self.model_a, self.probe_a), (self.model_b, self.probe_b))
        )
        return f"{b} − {a}"

    @property
    def title(self) -> str:
        """Section and pair."""
        return f"{self.section}: {self.pair}"


def forest_panels(contents: Contents, name: str) -> list[ForestPanel]:
    """Panels of a table of comparisons, in the order of the grid.

    Args:
        contents: the study.
        name: ``comparisons``, ``axis_comparisons`` or ``saliency_comparisons``.
    """
    table = contents.tables.get(name)
    if table is None:
        return []
    section, row, kept = {
        "comparisons": ("task", "metric", None),
        "axis_comparisons": ("kind", "metric", AXIS_ROWS),
        "saliency_comparisons": ("measure", "method", None),
    }[name]
    if kept is not None:
        table = table[table[row].isin(kept)]
    if name == "axis_comparisons":
        table = table[table["kind"] == "pca"]
    if name == "saliency_comparisons":
        table = table[table["measure"].isin(SALIENCY_ROWS)]
    if not len(table):
        return []
    table = contents.ordered(table, contents.group_axes)
    probes = contents.probes()
    keys = [*contents.group_axes, section, "model_a", "model_b"]
    panels = []
    for values, part in table.groupby(keys, sort=False):
        factors = dict(zip(keys, values, strict=True))
        probe = {
            side: (contents.condition({**factors, contents.study.contrast: factors[side]}), factors[section])
            in probes
            for side in ("model_a", "model_b")
        }
        panels.append(
            ForestPanel(
                contents.group(factors), section_name(section, str(factors[section])),
                str(factors["model_a"]), str(factors["model_b"]), probe["model_a"], probe["model_b"],
                [_row(line, row) for line in part.to_dict("records")],
            )
        )  # fmt: skip
    return panels


def section_name(column: str, value: str) -> str:
    """The heading of a section of comparisons."""
    if column == "kind":
        return "PC1" if value == "pca" else value
    return metric_name(value) if column == "measure" else value


def _row(line: Mapping[Any, Any], column: str) -> ForestRow:
    name = str(line[column])
    difference, low, high, adjusted = (
        float(str(line[key])) for key in ("difference", "ci_low", "ci_high", "p_adjusted")
    )
    better = -difference if smaller_is_better(name) else difference
    favoured = None if not better else str(line["model_b" if better > 0 else "model_a"])
    if math.isnan(difference):
        favoured = None
    label = method_name(name) if column == "method" else arrow(name)
    return ForestRow(label, difference, low, high, adjusted, favoured)


def shared_range(panels: Sequence[ForestPanel]) -> float:
    """The largest distance from zero that any of the panels shows, a little enlarged."""
    values = pd.Series(
        [abs(x) for panel in panels for row in panel.rows for x in (row.difference, row.low, row.high)],
        dtype=float,
    )
    largest = values[values.notna() & (values < math.inf)].max()
    return 1.06 * float(largest) if largest == largest and largest > 0 else 1.0
