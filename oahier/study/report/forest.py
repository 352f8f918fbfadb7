"""Paired differences, read once for the table of all and for forest plots of some."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oahier.pages.text import as_float, interval, p_value, signed
from oahier.study.report.contents import Contents
from oahier.study.report.names import (
    SCORES,
    arrow,
    is_in_grades,
    level_name,
    method_name,
    metric_name,
    smaller_is_better,
)

SIGNIFICANT = 0.05
_ENDS = ("ci_low", "ci_high")
COLUMNS: Mapping[str, tuple[str, str]] = {
    "comparisons": ("task", "metric"),
    "primary_comparisons": ("task", "metric"),
    "axis_comparisons": ("kind", "metric"),
    "change_comparisons": ("score", "metric"),
    "saliency_comparisons": ("measure", "method"),
}
"""Tables of paired differences, with the column of their sections and that of the rows in a section."""
_DRAWN: Mapping[str, tuple[str, ...]] = {
    "kind": ("pca",), "measure": ("enrichment",),
    "metric": ("spearman_kl", "spearman_oa", "probe_auc", "straightness", "monotonicity", "separation"),
}  # fmt: skip
"""Values of columns that forest plots of axes and saliency are limited to."""


@dataclass(frozen=True)
class Difference:
    """A row of a table of paired differences.

    Args:
        levels: of the axes that are neither compared nor repeated, as they are read.
        section: task, kind of axis or overlap metric, as it is read.
        label: metric or saliency method, as it is read.
        line: the row itself.
        probes: True where model a, or b, reads the task out by a probe.
        smaller: True where smaller values are better.
        in_grades: True where differences are grades rather than shares or correlations.
    """

    levels: tuple[str, ...]
    section: str
    label: str
    line: Mapping[Any, Any]
    probes: tuple[bool, bool]
    smaller: bool
    in_grades: bool = False

    def __getitem__(self, column: str) -> float:
        """A number of the row; NaN where it is empty."""
        return as_float(self.line.get(column))

    @property
    def models(self) -> tuple[str, str]:
        """The compared levels."""
        return str(self.line["model_a"]), str(self.line["model_b"])

    @property
    def favoured(self) -> str | None:
        """The level with the better value; ``None`` where both are equal."""
        better = -self["difference"] if self.smaller else self["difference"]
        return self.models[better > 0] if better and not math.isnan(better) else None

    @property
    def significant(self) -> bool:
        """True where the corrected p-value is below 0.05."""
        return self["p_adjusted"] < SIGNIFICANT

    @property
    def cut(self) -> tuple[bool, bool]:
        """Whether the interval ends, below or above, only because larger differences are impossible."""
        largest = self["largest"]
        return self["ci_low"] <= -largest, self["ci_high"] >= largest

    @property
    def note(self) -> str:
        """The numbers, as printed beside the interval."""
        text = f"{signed(self['difference'])} {interval(self['ci_low'], self['ci_high'])}".strip()
        return text if math.isnan(self["p_adjusted"]) else f"{text}, p {p_value(self['p_adjusted'])}"


@dataclass(frozen=True)
class ForestPanel:
    """All differences between two levels within one group and section, in one unit."""

    rows: Sequence[Difference]

    @property
    def group(self) -> str:
        """Levels of the axes that are not compared."""
        return ", ".join(self.rows[0].levels)

    @property
    def section(self) -> str:
        """What the differences have in common."""
        return f"{self.rows[0].section}, in grades" if self.rows[0].in_grades else self.rows[0].section

    @property
    def pair(self) -> str:
        """Minuend and subtrahend; probes have a dagger."""
        a, b = map(_marked, self.rows[0].models, self.rows[0].probes)
        return f"{b} − {a}"

    @property
    def title(self) -> str:
        """Section and pair."""
        return f"{self.section}: {self.pair}"


def _marked(level: str, probe: bool) -> str:
    return level_name(level) + "†" * probe


def differences(contents: Contents, name: str) -> list[Difference]:
    """All rows of a table of :data:`COLUMNS`, in the order of the grid."""
    table = contents.tables.get(name)
    if table is None:
        return []
    section, row = COLUMNS[name]
    probes, contrast = contents.probes(), contents.study.contrast
    found = []
    for line in contents.ordered(table, contents.group_axes).to_dict("records"):
        conditions = [contents.condition({**line, contrast: line[side]}) for side in ("model_a", "model_b")]
        a, b = ((condition, line[section]) in probes for condition in conditions)
        found.append(
            Difference(
                tuple(level_name(str(line[axis])) for axis in contents.group_axes),
                _section(section, str(line[section])),
                method_name(str(line[row])) if row == "method" else arrow(str(line[row])),
                line, (a, b), smaller_is_better(str(line[row])), is_in_grades(str(line[row])),
            )
        )  # fmt: skip
    return found


def _section(column: str, value: str) -> str:
    if column == "kind":
        return "PC1" if value == "pca" else value
    if column == "score":
        return SCORES.get(value, value)
    return metric_name(value) if column == "measure" else value


def forest_panels(contents: Contents, name: str) -> list[ForestPanel]:
    """The differences of a table that are drawn, by group, section, unit and pair."""
    panels: dict[tuple[Any, ...], list[Difference]] = {}
    for found in differences(contents, name):
        columns = COLUMNS[name] if name.startswith(("axis", "saliency")) else ()
        if all(found.line[column] in _DRAWN.get(column, (found.line[column],)) for column in columns):
            key = found.levels, found.section, found.in_grades, found.models
            panels.setdefault(key, []).append(found)
    return [ForestPanel(rows) for rows in panels.values()]


def shared_range(panels: Sequence[ForestPanel]) -> float:
    """The largest distance from zero that any of the panels shows, a little enlarged.

    Intervals that hold all that is possible on a side are drawn as arrows and do not widen the range.
    """
    rows = [row for panel in panels for row in panel.rows]
    ends = [abs(row[key]) for row in rows for key, cut in zip(_ENDS, row.cut, strict=True) if not cut]
    shown = [end for end in ends if end == end] or [row["largest"] for row in rows]
    shown += [abs(row["difference"]) for row in rows]
    return 1.06 * max((x for x in shown if 0 < x < math.inf), default=1 / 1.06)
