"""Change over visits in a report: its numbers, a row a cell and score, and trajectories of knees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from oahier.files import read_frame
from oahier.hierarchy import FINE, head_label
from oahier.pages.charts import Sheet
from oahier.reporting.change_figure import trajectories
from oahier.study.change_tables import AXIS, FILE, GRADE
from oahier.study.report.contents import Contents
from oahier.study.report.names import SCORES, level_name
from oahier.study.report.views import Entry, View, alignment, estimate_entry, sample_hint, word
from oahier.visits import Visits

_SHOWN = (
    ("mean slope a year", "slope a year"), ("smallest detectable change", "detectable"),
    ("standardised response mean", "response mean"), ("AUC of change", "AUC of change"),
    ("AUC, grade rises", "AUC, progression"),
)  # fmt: skip
"""Beginnings of quantities, and their columns; numbers of the grade and differences from it follow."""


def change_view(contents: Contents) -> View | None:
    """The main numbers of every cell and score, beside those of the grade."""
    table = contents.tables.get("change")
    if table is None:
        return None
    axes = list(contents.study.factors)
    rows = []
    for _, part in contents.ordered(table, axes).groupby(["cell", "score"], sort=False):
        lines = part.to_dict("records")
        words = [*(level_name(str(lines[0][axis])) for axis in axes), SCORES[str(lines[0]["score"])]]
        rows.append([*map(word, words), *(_entry(lines, start, side) for start, side, _ in _columns())])
    note = (
        "Test knees with two visits or more; slopes are those of a mixed model with random intercepts and "
        "slopes of knees. Response mean: mean change from the first to the last visit over its standard "
        "deviation. Detectable: 1.96 √2 standard deviations of a visit about the line of its knee. AUC of "
        "change: does the score rise where the grade is higher later? AUC, progression: of the score at the "
        "first visit for a later rise of the grade. 95 % intervals over test subjects of each trained model; "
        "–: not known, point at it for the reason."
    )
    columns = [*axes, "score", *(name for *_, name in _columns())]
    align = alignment(len(axes) + 1, len(_columns()))
    return View("change", "Change over visits", note, columns, rows, align)


def _columns() -> list[tuple[str, int, str]]:
    """Start of the quantity, which row of it (the score, the grade, the difference), and the heading."""
    grade = {"standardised response mean", "AUC, grade rises"}
    found = []
    for start, name in _SHOWN:
        found.append((start, 0, name))
        found += [(start, 1, "same of KL"), (start, 2, "difference")] if start in grade else []
    return found


def _entry(lines: list[dict[Any, Any]], start: str, side: int) -> Entry:
    rows = [line for line in lines if str(line["quantity"]).startswith(start)]
    if side >= len(rows):
        return Entry("–")
    return estimate_entry(rows[side], hint=f"{rows[side]['quantity']}: {sample_hint(rows[side])}")


def change_figures(contents: Contents) -> Iterator[tuple[str, Sheet]]:
    """Cell and trajectories along the axis (or of the expected grade) of its first cell that has any."""
    for cells in contents.study.conditions().values():
        followed = [cell for cell in cells if cell.state == "finished" and (cell.folder / FILE).is_file()]
        if not followed:
            continue
        path = followed[0].folder / FILE
        table = read_frame(path, ("subject", "side"))
        score = AXIS if AXIS in table else GRADE
        for column in (score, FINE):
            if column not in table:
                raise ValueError(
                    f"{path}: expected a column {column!r}, got {list(table)}; make the tables again"
                )
        values, grades = (table[name].to_numpy(dtype=np.float64) for name in (score, FINE))
        made = trajectories(Visits.of(table, source=str(path)), values, grades, head_label(FINE))
        made.title = f"{contents.title(followed[0])}: {SCORES[score]}"
        yield followed[0].name, made
