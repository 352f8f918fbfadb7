"""Table of the states of a study's cells."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from oahier.hierarchy import head_label
from oahier.metrics import find_metrics
from oahier.study.cell_files import read_facts
from oahier.study.cells import Cell
from oahier.study.results import Study

_COLOURS = {"finished": "green", "failed": "red", "running": "yellow", "waiting": "dim"}
_SHOWN = ("qwk", "auc")
"""Metrics that stand for a head of grades and for one of two classes."""


def status_table(study: Study) -> Table:
    """One row a cell: its levels, its state, how far it is, and its headline figures when it is finished."""
    states = [cell.state for cell in study.cells]
    counts = ", ".join(f"{states.count(state)} {state}" for state in _COLOURS if state in states)
    table = Table(title=f"{study.name}: {counts}", title_justify="left")
    for axis in study.factors:
        table.add_column(axis)
    known = [read_facts(cell) for cell in study.cells]
    shown = _shown(known)
    for column in ("state", "epoch", *shown.values(), "minutes", ""):
        table.add_column(column, justify="left" if column in ("state", "") else "right")
    for cell, state, facts in zip(study.cells, states, known, strict=True):
        table.add_row(
            *(escape(level) for level in cell.factors.values()),
            f"[{_COLOURS[state]}]{state}[/]",
            _epoch(cell),
            *(_number(facts.get("metrics", {}).get(key)) for key in shown),
            f"{facts['seconds'] / 60:.1f}" if "seconds" in facts else "",
            escape(cell.error) if state == "failed" else "",
        )
    return table


def _shown(known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Keys of the main metric of every head, with their headings."""
    keys = dict.fromkeys(key for facts in known for key in facts.get("metrics", {}))
    parts = [key.split("/") for key in keys if key.count("/") == 2]
    found = [(head, metric) for _, head, metric in parts if metric in _SHOWN]
    return {
        f"test/{head}/{metric}": f"{head_label(head)} {find_metrics(metric)[0].title}"
        for head, metric in found
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _epoch(cell: Cell) -> str:
    try:
        with (cell.folder / "learning_curves.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return ""
    return f"{rows[-1]['epoch']}/{cell.config['trainer']['max_epochs']}" if rows else ""
