"""Folds of a study, pooled into a study of its own: every knee is tested once for each seed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from oahier.files import frame_csv, read_frame, write_atomically, write_json
from oahier.study.cell_files import read_facts
from oahier.study.cells import Cell, write_cell
from oahier.study.plan import POOLED
from oahier.study.results import Study, read_study

FOLDER = "pooled"


def pooled(study: Study) -> Study:
    """A study without the axis of folds, in ``DIR/pooled``; the study itself where it has none.

    Its cells hold the pooled out-of-fold predictions of all folds that differ in nothing else. Where a fold
    is not finished, the pooled cell has failed and says so.

    Raises:
        ValueError: a knee that two folds have tested.
    """
    if POOLED not in study.factors:
        return study
    folder = study.folder / FOLDER
    shutil.rmtree(folder / "cells", ignore_errors=True)
    levels = {axis: list(names) for axis, names in study.factors.items() if axis != POOLED}
    for cells in folds(study).values():
        factors = {axis: level for axis, level in cells[0].factors.items() if axis != POOLED}
        _pool(folder / "cells" / "_".join(factors.values()), factors, cells)
    write_json(folder / "study.json", {**study.facts, "factors": levels, "folds": len(study.factors[POOLED])})
    return read_study(folder)


def folds(study: Study) -> dict[tuple[str, ...], list[Cell]]:
    """Cells that differ in the fold only, by their other levels."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in study.cells:
        key = tuple(level for axis, level in cell.factors.items() if axis != POOLED)
        groups.setdefault(key, []).append(cell)
    return groups


def _pool(folder: Path, factors: Mapping[str, str], cells: Sequence[Cell]) -> None:
    left = [cell.factors[POOLED] for cell in cells if cell.state != "finished"]
    write_cell(folder, folder.name, factors, cells[0].settings, cells[0].config)
    if left:
        why = f"folds {', '.join(left)} of {len(cells)} are not finished\n"
        write_atomically(folder / "failure.txt", why)
        return
    facts = [read_facts(cell) for cell in cells]
    told: dict[str, Any] = {name: facts[0][name] for name in ("parameters", "spacing") if name in facts[0]}
    told["seconds"] = round(sum(float(one.get("seconds", 0)) for one in facts), 1)
    finish_pooled_cell(folder, join([text_table(cell) for cell in cells], folder.name), told)


def finish_pooled_cell(folder: Path, predictions: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Predictions and facts of a pooled cell, which make it a finished one."""
    write_atomically(folder / "predictions.csv", frame_csv(predictions))
    write_json(folder / "metrics.json", facts)


def text_table(cell: Cell) -> pd.DataFrame:
    """The test predictions of a cell as they are written."""
    return read_frame(cell.folder / "predictions.csv", ("knee", "subject"))


def join(tables: Sequence[pd.DataFrame], name: str) -> pd.DataFrame:
    """Tables of folds, one below the other, by knee.

    Raises:
        ValueError: a knee in two folds.
    """
    whole = pd.concat(tables, ignore_index=True)
    twice = whole["knee"][whole["knee"].duplicated()]
    if len(twice):
        raise ValueError(f"{name}: knee {twice.iloc[0]} was tested in two folds; give each fold other knees")
    return whole.sort_values("knee", ignore_index=True)
