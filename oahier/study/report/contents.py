"""A study and its tables, read once; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from oahier.files import read_frame
from oahier.hierarchy import head_label
from oahier.study.cells import Cell
from oahier.study.report.names import NEUTRAL, Style, level_name, styles
from oahier.study.results import Study, read_study

_ESTIMATE = ("value", "ci_low", "ci_high")
_COMPARED = ("model_a", "model_b", "difference", "ci_low", "ci_high", "p_value", "p_adjusted")
TABLES: Mapping[str, tuple[str, ...]] = {
    "cells": ("cell", "state", "task", "metric", "value"),
    "headline": ("task", "metric", *_ESTIMATE, "seed_sd", "seeds", "probe"),
    "comparisons": ("task", "metric", *_COMPARED),
    "primary_comparisons": ("task", "metric", *_COMPARED),
    "axis": ("cell", "kind"),
    "axis_order": (
        "cell", "kind", "covariate", "group", "spearman", "ci_low", "ci_high", "knees", "subjects",
    ),
    "similarity": ("between", "a", "b", "cka", "ci_low", "ci_high", "pairs"),
    "axis_comparisons": ("kind", "metric", *_COMPARED),
    "change": ("cell", "score", "quantity", *_ESTIMATE, "knees", "subjects"),
    "change_comparisons": ("score", "metric", *_COMPARED),
    "saliency": (
        "method", "measure", *_ESTIMATE, "chance", "other_cartilage", "randomised", "bound",
    ),
    "saliency_comparisons": ("method", "measure", *_COMPARED),
}  # fmt: skip
"""Tables of a study and the columns that a report reads."""
_TEXT: Mapping[str, tuple[str, ...]] = {
    "similarity": ("a", "b"),
    "axis_order": ("note",),
    "change": ("note",),
}
"""Columns that are words, of tables in which not all readers would take them for such."""


@dataclass(frozen=True)
class Contents:
    """A study and its tables.

    Args:
        study: the study.
        tables: by name; those that do not exist or have no row are left out.
    """

    study: Study
    tables: Mapping[str, pd.DataFrame]

    @cached_property
    def finished(self) -> list[Cell]:
        """Cells with results."""
        return [cell for cell in self.study.cells if cell.state == "finished"]

    @cached_property
    def styles(self) -> dict[str, Style]:
        """Colour and symbol of each level of the contrasted axis."""
        return styles(self.study.factors.get(self.study.contrast, []))

    @cached_property
    def group_axes(self) -> list[str]:
        """Axes that are neither compared nor repeated."""
        return [axis for axis in self.study.condition_axes if axis != self.study.contrast]

    def style(self, factors: Mapping[Any, Any]) -> Style:
        """How a condition is drawn."""
        return self.styles.get(str(factors.get(self.study.contrast)), NEUTRAL)

    def contrast(self, factors: Mapping[Any, Any]) -> str:
        """The name of the contrasted level of a condition or cell."""
        return level_name(str(factors.get(self.study.contrast, "")))

    def group(self, factors: Mapping[Any, Any]) -> str:
        """The name of the other levels of a condition or cell, the same for what is compared."""
        return ", ".join(level_name(str(factors[axis])) for axis in self.group_axes)

    def condition(self, factors: Mapping[Any, Any]) -> str:
        """The name of a condition."""
        parts = [self.group(factors), self.contrast(factors)]
        return ", ".join(part for part in parts if part) or "all"

    def title(self, cell: Cell) -> str:
        """The name of a cell: its condition and replicate."""
        replicate = self.study.replicate
        level = cell.factors.get(replicate)
        return self.condition(cell.factors) + (f", {replicate} {level}" if level else "")

    def ordered(self, table: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
        """Rows in the order of the grid, other columns keeping theirs."""
        places = pd.DataFrame(index=table.index)
        for axis in axes:
            order = {level: place for place, level in enumerate(self.study.factors[axis])}
            places[axis] = table[axis].map(order).fillna(len(order))
        return table.loc[places.sort_values(list(axes), kind="stable").index] if len(axes) else table

    def without_head(self, levels: Mapping[str, Any], head: str) -> bool:
        """True where the models of a condition lack a head, so that its metrics come from another one."""
        cells = [
            cell
            for cell in self.finished
            if all(cell.factors[axis] == str(level) for axis, level in levels.items())
        ]
        return bool(cells) and head not in cells[0].config["model"]["heads"]

    def probes(self) -> set[tuple[str, str]]:
        """Conditions and tasks whose head does not back-propagate into the encoder."""
        return {
            (self.condition(cell.factors), head_label(head))
            for cell in self.study.cells
            for head in cell.probes
        }


def read_contents(folder: Path) -> Contents:
    """Read a study's folder.

    Raises:
        ValueError: no study, or a table without the columns that a report reads.
    """
    study = read_study(folder)
    tables = {name: _table(study, folder / "tables" / f"{name}.csv") for name in TABLES}
    return Contents(study, {name: table for name, table in tables.items() if table is not None})


def _table(study: Study, path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        table = read_frame(path, (*study.factors, "cell", "model_a", "model_b", *_TEXT.get(path.stem, ())))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a table as CSV, got {error}; make the tables again") from error
    name = path.stem
    axes = study.factors if name in ("cells", "axis", "axis_order", "change") else study.condition_axes
    if name.endswith("comparisons") or name == "similarity":
        axes = [axis for axis in axes if axis != study.contrast]
    for column in (*axes, *TABLES[name]):
        if column not in table:
            raise ValueError(
                f"{path}: expected a column {column!r}, got {list(table)}; make the tables again"
            )
    return table if len(table) else None
