"""Prediction files: one row a knee, whoever wrote them.

Columns: ``knee``, ``subject``, ``label_kl``, ``label_oa``, ``prob_oa``, ``prob_kl_0`` to ``prob_kl_4``, and
optionally the decisions ``pred_oa`` and ``pred_kl`` and the score ``severity_kl``. A head whose columns are
missing does not exist. Further columns are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.hierarchy import OA_FROM_GRADE
from oahier.statistics.intervals import Floats
from oahier.types import KL_GRADES, MISSING

Names = npt.NDArray[np.character]
Classes = npt.NDArray[np.int64]

KL_COLUMNS = tuple(f"prob_kl_{grade}" for grade in range(KL_GRADES))
SUM_TOLERANCE = 1e-4
"""How far the grade probabilities of a knee may sum from one: rounding to four digits passes."""

_RANGE_TOLERANCE = 1e-6
_BLANK = frozenset({"", "na", "n/a", "nan", "none", "null", "."})


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one trained model said about each knee, rows sorted by knee.

    Decisions are those of the file where it has them, else P(OA) >= 0.5 and the most probable grade;
    severity is the file's or the expected grade. A head that does not exist has ``None``.
    """

    source: str
    """File, or any name for messages."""
    knee: Names
    subject: Names
    subject_given: bool
    """False where the file has no column ``subject``: every knee then counts as a subject of its own."""
    label_kl: Classes
    """``MISSING`` where unknown."""
    label_oa: Classes
    """As read; where the file has none, what the KL grade implies; else ``MISSING``."""
    prob_oa: Floats | None
    pred_oa: Classes | None
    prob_kl: Floats | None
    """``(knees, 5)``."""
    pred_kl: Classes | None
    severity_kl: Floats | None

    def __len__(self) -> int:
        return len(self.knee)


def read_predictions(path: Path | str) -> Predictions:
    """Read and check a CSV file of predictions.

    Raises:
        OSError: the file cannot be read.
        ValueError: see :func:`parse_predictions`; also rows with too few or too many cells, or a column
            that occurs twice.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row] or [[]]
    names = [name.strip() for name in header]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: column {repeated[0]} occurs twice; keep one")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise ValueError(f"{path}: row {number}: expected {len(names)} cells, got {len(row)}")
    return parse_predictions({name: [row[at] for row in rows] for at, name in enumerate(names)}, str(path))


def parse_predictions(columns: Mapping[str, Any], source: str = "predictions") -> Predictions:
    """Check the columns of a prediction table and sort its rows by knee.

    Args:
        columns: cells by column name (lists, arrays, or a data frame's columns), as text or numbers.
        source: how messages call the table.

    Raises:
        ValueError: no rows; no ``knee`` column, an empty or repeated knee; neither label column; no head, or
            a KL head without all five columns; a label, probability or decision out of range or not a
            number; grade probabilities that do not sum to one. The message names table, row and column.

    >>> table = {"knee": ["b", "a"], "label_oa": [1, 0], "prob_oa": [0.8, 0.3]}
    >>> parse_predictions(table).knee.tolist()
    ['a', 'b']
    """
    cells = {str(name): [_text(cell) for cell in columns[name]] for name in columns}
    _check_columns(cells, source)
    knee = _knees(cells, source)
    subject = _filled(cells["subject"], "subject", source) if "subject" in cells else list(knee)
    label_kl = _labels(cells, "label_kl", KL_GRADES, source)
    label_oa = _labels(cells, "label_oa", 2, source)
    implied = np.where(label_kl == MISSING, MISSING, label_kl >= OA_FROM_GRADE)
    prob_oa = _probability(cells, "prob_oa", source) if "prob_oa" in cells else None
    prob_kl = _grade_probabilities(cells, source) if KL_COLUMNS[0] in cells else None
    pred_oa = None if prob_oa is None else _decided(cells, "pred_oa", 2, source, prob_oa >= 0.5)
    order = np.argsort(np.asarray(knee, dtype=str), kind="stable")
    if prob_kl is None:
        pred_kl, severity = None, None
    else:
        pred_kl = _decided(cells, "pred_kl", KL_GRADES, source, prob_kl.argmax(axis=1))[order]
        severity = _severity(cells, prob_kl, source)[order]
    return Predictions(
        source=source,
        knee=np.asarray(knee, dtype=str)[order],
        subject=np.asarray(subject, dtype=str)[order],
        subject_given="subject" in cells,
        label_kl=label_kl[order],
        label_oa=np.where(label_oa == MISSING, implied, label_oa)[order].astype(np.int64),
        prob_oa=None if prob_oa is None else prob_oa[order],
        pred_oa=None if pred_oa is None else pred_oa[order],
        prob_kl=None if prob_kl is None else prob_kl[order],
        pred_kl=pred_kl,
        severity_kl=severity,
    )


def _text(cell: object) -> str:
    text = str(cell).strip()
    return "" if text.lower() in _BLANK else text


def _check_columns(cells: Mapping[str, Sequence[str]], source: str) -> None:
    found = ", ".join(cells) or "none"
    if "knee" not in cells:
        raise ValueError(f"{source}: expected a column knee, got columns {found}")
    if not cells["knee"]:
        raise ValueError(f"{source}: expected at least one knee, got a table without rows")
    if "label_kl" not in cells and "label_oa" not in cells:
        raise ValueError(f"{source}: expected a column label_kl or label_oa, got columns {found}")
    grades = [name for name in KL_COLUMNS if name in cells]
    if grades and len(grades) < KL_GRADES:
        absent = ", ".join(name for name in KL_COLUMNS if name not in cells)
        raise ValueError(f"{source}: expected all of prob_kl_0 to prob_kl_4 or none, {absent} missing")
    if not grades and "prob_oa" not in cells:
        raise ValueError(
            f"{source}: expected a column prob_oa or columns prob_kl_0 to prob_kl_4, got columns {found}"
        )


def _filled(values: Sequence[str], column: str, source: str) -> list[str]:
    for row, value in enumerate(values, start=2):
        if not value:
            raise ValueError(f"{source}: row {row}, column {column}: expected a name, got an empty cell")
    return list(values)


def _knees(cells: Mapping[str, Sequence[str]], source: str) -> list[str]:
    knees = _filled(cells["knee"], "knee", source)
    first: dict[str, int] = {}
    for row, knee in enumerate(knees, start=2):
        if knee in first:
            raise ValueError(
                f"{source}: row {row}, column knee: {knee!r} stands in row {first[knee]} already; "
                "keep one row a knee (several seeds are several files)"
            )
        first[knee] = row
    return knees


def _number(text: str, row: int, knee: str, column: str, source: str, expected: str) -> float:
    try:
        value = float(text) if text else float("nan")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        shown = repr(text) if text else "an empty or NaN cell"
        raise ValueError(
            f"{source}: row {row} (knee {knee}), column {column}: expected {expected}, got {shown}"
        )
    return value


def _numbers(cells: Mapping[str, Sequence[str]], column: str, source: str, expected: str) -> Floats:
    rows = enumerate(zip(cells[column], cells["knee"], strict=True), start=2)
    return np.array([_number(text, row, knee, column, source, expected) for row, (text, knee) in rows])


def _classes(
    values: Floats, cells: Mapping[str, Sequence[str]], column: str, classes: int, source: str
) -> Classes:
    wrong = np.flatnonzero(
        np.isfinite(values) & ((values != np.round(values)) | (values < 0) | (values >= classes))
    )
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f"{source}: row {at + 2} (knee {cells['knee'][at]}), column {column}: expected a whole number "
            f"0 to {classes - 1}, got {cells[column][at]!r}"
        )
    return np.where(np.isfinite(values), values, MISSING).astype(np.int64)


def _labels(cells: Mapping[str, Sequence[str]], column: str, classes: int, source: str) -> Classes:
    """Labels; empty cells are unknown."""
    if column not in cells:
        return np.full(len(cells["knee"]), MISSING, dtype=np.int64)
    values = np.full(len(cells["knee"]), np.nan)
    expected = f"a whole number 0 to {classes - 1}, or an empty cell where it is unknown"
    for at, (text, knee) in enumerate(zip(cells[column], cells["knee"], strict=True)):
        if text:
            values[at] = _number(text, at + 2, knee, column, source, expected)
    return _classes(values, cells, column, classes, source)


def _probability(cells: Mapping[str, Sequence[str]], column: str, source: str) -> Floats:
    values = _numbers(cells, column, source, "a probability from 0 to 1 (did training diverge?)")
    wrong = np.flatnonzero((values < -_RANGE_TOLERANCE) | (values > 1 + _RANGE_TOLERANCE))
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f"{source}: row {at + 2} (knee {cells['knee'][at]}), column {column}: expected a probability "
            f"from 0 to 1, got {cells[column][at]}; write probabilities, not logits or percentages"
        )
    return values


def _grade_probabilities(cells: Mapping[str, Sequence[str]], source: str) -> Floats:
    values = np.stack([_probability(cells, column, source) for column in KL_COLUMNS], axis=1)
    total = values.sum(axis=1)
    wrong = np.flatnonzero(np.abs(total - 1) > SUM_TOLERANCE)
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f"{source}: row {at + 2} (knee {cells['knee'][at]}), columns prob_kl_0 to prob_kl_4: expected a "
            f"sum of 1 (within {SUM_TOLERANCE:g}), got {total[at]:.6g}; {len(wrong)} rows are wrong"
        )
    return values


def _decided(
    cells: Mapping[str, Sequence[str]], column: str, classes: int, source: str, default: npt.NDArray[Any]
) -> Classes:
    if column not in cells:
        return default.astype(np.int64)
    values = _numbers(cells, column, source, f"a whole number 0 to {classes - 1}")
    return _classes(values, cells, column, classes, source)


def _severity(cells: Mapping[str, Sequence[str]], prob_kl: Floats, source: str) -> Floats:
    if "severity_kl" in cells:
        return _numbers(cells, "severity_kl", source, "a number")
    return np.asarray(prob_kl @ np.arange(KL_GRADES), dtype=np.float64)
