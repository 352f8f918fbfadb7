"""Cells of a prediction table: text to checked numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.files import BLANK, EMPTY_CELL
from oahier.metrics.weighted import Classes, Floats, Marks, Names
from oahier.types import MISSING

Column = Sequence[object] | npt.NDArray[np.generic]
"""Cells as text or numbers; text of numbers may be packed (see :func:`packed`)."""

SUM_TOLERANCE = 1e-4
"""How far the probabilities of a knee may sum from one: rounding to four digits passes."""

_RANGE_TOLERANCE = 1e-6
_LONGEST = 64
"""Characters of a cell that is packed."""


def text(cell: object) -> str:
    """A cell as text; empty for what stands for nothing, such as ``nan``.

    >>> text(0.5), text(" NaN ")
    ('0.5', '')
    """
    found = (cell.decode() if isinstance(cell, bytes) else str(cell)).strip()
    return "" if found.lower() in BLANK else found


def packed(cells: Sequence[str]) -> Column:
    """Text of numbers in an array of bytes, a fifth of the memory; as it came where that cannot hold it.

    >>> packed(["0.5", "12"]).tolist(), packed(["\u0661"])
    ([b'0.5', b'12'], ['\u0661'])
    """
    if "\0" in "".join(cells) or max(map(len, cells), default=0) > _LONGEST:
        return cells
    try:
        return np.array(cells, dtype=np.bytes_)
    except UnicodeEncodeError:
        return cells


def joined(blocks: Sequence[Column]) -> Column:
    """One column of several; packed where all are."""
    arrays = [block for block in blocks if isinstance(block, np.ndarray)]
    if blocks and len(arrays) == len(blocks):
        return np.concatenate(arrays)
    return [cell for block in blocks for cell in block]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a table by column, with its name for messages."""

    columns: Mapping[str, Column]
    source: str
    undefined: bool = False
    """Empty probabilities and decisions, as a diverged model leaves them, are read as NaN and ``MISSING``."""

    def error(self, row: int, column: str, expected: str, got: str) -> ValueError:
        """The error of a cell, named by row of the file, knee and column."""
        knee = self.cell("knee", row)
        return ValueError(
            f"{self.source}: row {row + 2} (knee {knee}), column {column}: expected {expected}, got {got}"
        )

    def cell(self, column: str, row: int) -> str:
        """The text of one cell; empty for what stands for nothing."""
        return text(self.columns[column][row])

    def filled(self, column: str) -> Names:
        """Names, none of which is empty."""
        names = [text(cell) for cell in self.columns[column]]
        for row, value in enumerate(names, start=2):
            if not value:
                raise ValueError(
                    f"{self.source}: row {row}, column {column}: expected a name, got {EMPTY_CELL}"
                )
        return np.asarray(names, dtype=str)

    def knees(self) -> Names:
        """Names of the knees, each once."""
        if "knee" not in self.columns:
            found = ", ".join(self.columns) or "none"
            raise ValueError(f"{self.source}: expected a column knee, got columns {found}")
        if len(self.columns["knee"]) == 0:
            raise ValueError(f"{self.source}: expected at least one knee, got a table without rows")
        knees, first = self.filled("knee"), dict[str, int]()
        for row, knee in enumerate(knees.tolist(), start=2):
            if knee in first:
                raise ValueError(
                    f"{self.source}: row {row}, column knee: {knee!r} stands in row {first[knee]} already; "
                    "keep one row a knee (several seeds are several files)"
                )
            first[knee] = row
        return knees

    def numbers(self, column: str, expected: str, *, blanks: bool = False) -> Floats:
        """Finite numbers; NaN for empty cells where these are allowed."""
        at_once = _numbers(self.columns[column])
        if at_once is not None:
            return at_once
        values = np.full(len(self.columns["knee"]), np.nan)
        for row, cell in enumerate(map(text, self.columns[column])):
            if not cell and blanks:
                continue
            try:
                plain = cell.isascii() and "_" not in cell  # Python reads 0_1 and digits of other scripts
                values[row] = float(cell) if cell and plain else np.nan
            except ValueError:
                values[row] = np.nan
            if not np.isfinite(values[row]):
                raise self.error(row, column, expected, repr(cell) if cell else "an empty or NaN cell")
        return values

    def classes(self, column: str, classes: int, *, blanks: bool = False) -> Classes:
        """Classes from 0 on; ``MISSING`` for empty cells where these are allowed."""
        expected = f"a whole number 0 to {classes - 1}"
        or_blank = ", or an empty cell where it is unknown" if blanks else ""
        values = self.numbers(column, expected + or_blank, blanks=blanks)
        known = np.isfinite(values)
        wrong = (values != np.round(values)) | (values < 0) | (values >= classes)
        self._refuse(known & wrong, column, expected)
        return np.where(known, values, MISSING).astype(np.int64)

    def labels(self, column: str, classes: int) -> Classes:
        """Labels; ``MISSING`` in all rows where there is no such column."""
        if column not in self.columns:
            return np.full(len(self.columns["knee"]), MISSING, dtype=np.int64)
        return self.classes(column, classes, blanks=True)

    def decisions(self, column: str, classes: int) -> Classes:
        """Decisions of a model."""
        return self.classes(column, classes, blanks=self.undefined)

    def scores(self, column: str, expected: str = "a number") -> Floats:
        """Numbers that a model gave."""
        return self.numbers(column, expected, blanks=self.undefined)

    def probabilities(self, columns: Sequence[str]) -> Floats:
        """``(rows, classes)`` probabilities that sum to one; one column is that of class 1 of two."""
        values = np.stack([self._probability(column) for column in columns], axis=1)
        if len(columns) == 1:
            return np.concatenate([1 - values, values], axis=1)
        total = values.sum(axis=1)
        wrong = np.flatnonzero(np.abs(total - 1) > SUM_TOLERANCE)
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"{self.source}: row {row + 2} (knee {self.cell('knee', row)}), columns {columns[0]} to "
                f"{columns[-1]}: expected a sum of 1 (within {SUM_TOLERANCE:g}), got {total[row]:.6g}; "
                f"{len(wrong)} rows are wrong"
            )
        return values

    def _probability(self, column: str) -> Floats:
        values = self.scores(column, "a probability from 0 to 1 (did training diverge?)")
        wrong = (values < -_RANGE_TOLERANCE) | (values > 1 + _RANGE_TOLERANCE)
        self._refuse(
            wrong, column, "a probability from 0 to 1", "; write probabilities, not logits or percentages"
        )
        return values

    def _refuse(self, wrong: Marks, column: str, expected: str, advice: str = "") -> None:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            cell = self.cell(column, row)
            raise self.error(row, column, expected, f"{cell if advice else repr(cell)}{advice}")


def _numbers(column: Column) -> Floats | None:
    """Packed cells as numbers; ``None`` where each has to be looked at."""
    if not (isinstance(column, np.ndarray) and column.dtype.kind == "S") or b"_" in column.tobytes():
        return None
    try:
        values = column.astype(np.float64)
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None
