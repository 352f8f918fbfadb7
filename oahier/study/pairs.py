"""Pairs of conditions that are compared, and rows of tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from oahier.files import frame_csv, write_atomically
from oahier.hierarchy import head_label
from oahier.statistics import Comparison, Summary, adjust_comparisons
from oahier.statistics.correction import Correction
from oahier.study.cells import Cell
from oahier.study.results import Study


@dataclass(frozen=True)
class Condition:
    """Finished cells that differ in the replicate only, by its level."""

    levels: Mapping[str, str]
    cells: Mapping[str, Cell]

    @property
    def probes(self) -> list[str]:
        """Heads whose gradients did not reach the encoder."""
        return next(iter(self.cells.values())).probes


@dataclass(frozen=True)
class Pair:
    """Two conditions that differ in the contrast only, with cells for the same replicates."""

    levels: Mapping[str, str]
    model_a: str
    model_b: str
    a: Sequence[Cell]
    b: Sequence[Cell]


def conditions(study: Study) -> list[Condition]:
    """Conditions with at least one finished cell."""
    made = []
    for cells in study.conditions().values():
        finished = {cell.factors.get(study.replicate, ""): cell for cell in cells if cell.state == "finished"}
        if finished:
            levels = {axis: cells[0].factors[axis] for axis in study.condition_axes}
            made.append(Condition(levels, finished))
    return made


def pairs(study: Study) -> Iterator[Pair]:
    """Every two levels of the contrast under equal levels of all other axes, in the order of the grid.

    Only replicates that both sides have finished take part; of a study with declared contrasts only these.
    """
    declared = study.facts.get("contrasts")
    groups: dict[tuple[tuple[str, str], ...], list[Condition]] = {}
    for condition in conditions(study):
        others = tuple((axis, level) for axis, level in condition.levels.items() if axis != study.contrast)
        groups.setdefault(others, []).append(condition)
    if study.contrast not in study.factors:
        return
    for others, members in groups.items():
        sides: Iterable[tuple[Condition, Condition]] = itertools.combinations(members, 2)
        if declared:
            named = {condition.levels[study.contrast]: condition for condition in members}
            sides = [(named[a], named[b]) for a, b in declared if a in named and b in named]
        for first, second in sides:
            shared = [level for level in first.cells if level in second.cells]
            if shared:
                yield Pair(
                    dict(others),
                    first.levels[study.contrast],
                    second.levels[study.contrast],
                    [first.cells[level] for level in shared],
                    [second.cells[level] for level in shared],
                )


def comparison_rows(
    found: Iterable[tuple[Pair, Comparison]],
    correction: Correction,
    names: tuple[str, str] = ("task", "metric"),
) -> list[dict[str, Any]]:
    """Rows of a table of comparisons, corrected for multiple testing over all of them."""
    found = list(found)
    rows = []
    adjusted = adjust_comparisons([row for _, row in found], correction)
    for (pair, _), row in zip(found, adjusted, strict=True):
        values = asdict(row)
        first, second = (values.pop(key) for key in ("task", "metric"))
        models = {"model_a": pair.model_a, "model_b": pair.model_b}
        rows.append({**pair.levels, **models, names[0]: first, names[1]: second, **(values | models)})
        if names[0] == "task":
            sides = {"probe_a": pair.a, "probe_b": pair.b}
            probes = {key: map(head_label, cells[0].probes) for key, cells in sides.items()}
            rows[-1] |= {key: first in names for key, names in probes.items()}
    return rows


def summary_row(
    condition: Condition, row: Summary, names: tuple[str, str] = ("task", "metric")
) -> dict[str, Any]:
    """A row of a table of conditions."""
    values = asdict(row)
    first, second = (values.pop(key) for key in ("task", "metric"))
    return {**condition.levels, names[0]: first, names[1]: second, **values}


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV in one step; nothing is written, and an old file goes, where there are none."""
    if rows:
        write_atomically(path, frame_csv(pd.DataFrame(list(rows)), digits=10))
    else:
        path.unlink(missing_ok=True)
