"""Prediction files: one row a knee, whoever wrote them.

Columns: ``knee``, ``subject`` and, for each head, its label ``label_<head>``, its probabilities
(``prob_<head>`` of two classes, else ``prob_<head>_0``, ``prob_<head>_1``, ...) and optionally its decision
``pred_<head>`` and score ``severity_<head>``. The usual heads are ``oa`` and ``kl``. A head whose columns are
missing does not exist. Further columns are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.files import unmarked
from oahier.hierarchy import COARSE, FINE, OA_FROM_GRADE
from oahier.metrics.rows import Rows, decisions
from oahier.metrics.weighted import Classes, Floats, Names
from oahier.statistics.cells import Cells, Column, joined, packed
from oahier.statistics.columns import find_heads
from oahier.types import KL_GRADES, MISSING

_LEVELS = {COARSE: 2, FINE: KL_GRADES}
"""Number of classes of the levels, whose labels may stand in a file without their head."""
_NAMES = ("knee", "subject")
_NUMBERS = ("label_", "prob_", "pred_", "severity_")
_BLOCK = 20_000
"""Rows read at a time."""


@dataclass(frozen=True, eq=False)
class HeadPredictions:
    """What one head said about each knee."""

    probabilities: Floats
    """``(knees, classes)``."""
    predicted: Classes
    """The file's decisions, else P(class 1) >= 0.5 of two classes, or the most probable one."""
    severity: Floats
    """The file's, else the expected class."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    def labelled_rows(self, labels: Classes, subject: Names) -> Rows:
        """The knees whose label is known.

        Args:
            labels: ``(knees,)``, ``MISSING`` where unknown.
            subject: ``(knees,)``.
        """
        known = labels != MISSING
        return Rows(
            labels=labels[known],
            probabilities=self.probabilities[known],
            predicted=self.predicted[known],
            severity=self.severity[known],
            subject=subject[known],
        )


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one trained model said about each knee, rows sorted by knee."""

    source: str
    """File, or any name for messages."""
    knee: Names
    subject: Names
    subject_given: bool
    """False where the file has no column ``subject``: every knee then counts as a subject of its own."""
    labels: Mapping[str, Classes]
    """By head, ``MISSING`` where unknown. OA is what the KL grade implies where the file does not say."""
    heads: Mapping[str, HeadPredictions]
    """By name; OA and KL first."""

    def __len__(self) -> int:
        return len(self.knee)


def read_predictions(
    path: Path | str, *, undefined: bool = False, advance: Callable[[int], None] | None = None
) -> Predictions:
    """Read and check a CSV file of predictions.

    Args:
        path: the file.
        undefined: see :func:`parse_predictions`.
        advance: told how many rows were read, for a progress bar.

    Raises:
        OSError: the file cannot be read.
        ValueError: see :func:`parse_predictions`; also rows with too few or too many cells, or a column
            that occurs twice.
    """
    try:
        columns = _columns(path, advance)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected predictions as CSV, got {error}") from error
    return parse_predictions(columns, str(path), undefined=undefined)


def _columns(path: Path | str, advance: Callable[[int], None] | None) -> dict[str, Column]:
    """The columns of a file; numbers as packed text, read some rows at a time, so that memory stays small."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = (row for row in csv.reader(file) if row)
        names = [unmarked(name).strip() for name in next(rows, [])]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{path}: column {repeated[0]} occurs twice; keep one")
        read = {name: at for at, name in enumerate(names) if name.startswith(_NUMBERS) or name in _NAMES}
        found: dict[str, list[Column]] = {name: [] for name in names}
        number = 2
        while block := list(islice(rows, _BLOCK)):
            wrong = next((at for at, row in enumerate(block) if len(row) != len(names)), None)
            if wrong is not None:
                raise ValueError(
                    f"{path}: row {number + wrong}: expected {len(names)} cells, got {len(block[wrong])}"
                )
            for name, at in read.items():
                cells = [row[at] for row in block]
                cells = [unmarked(cell) for cell in cells] if "'" in "".join(cells) else cells
                found[name].append(cells if name in _NAMES else packed(cells))
            number += len(block)
            if advance is not None:
                advance(len(block))
    return {name: joined(blocks) for name, blocks in found.items()}


def parse_predictions(
    columns: Mapping[str, Any], source: str = "predictions", *, undefined: bool = False
) -> Predictions:
    """Check the columns of a prediction table and sort its rows by knee.

    Args:
        columns: cells by column name (lists, arrays, or a data frame's columns), as text or numbers.
        source: how messages call the table.
        undefined: read empty probabilities, as a diverged model leaves them, as NaN instead of refusing them;
            every metric of such a head is NaN.

    Raises:
        ValueError: no rows; no ``knee`` column, an empty or repeated knee; no label column; no head, a head
            without all its columns, or two heads with one column; a label, probability or decision out of
            range or not a number; probabilities that do not sum to one. The message names table, row and
            column.

    >>> table = {"knee": ["b", "a"], "label_oa": [1, 0], "prob_oa": [0.8, 0.3]}
    >>> parse_predictions(table).knee.tolist()
    ['a', 'b']
    """
    cells = Cells({str(name): columns[name] for name in columns}, source, undefined)
    knee = cells.knees()
    subject = cells.filled("subject") if "subject" in cells.columns else knee
    heads = find_heads(cells.columns, source)
    order = np.argsort(knee, kind="stable")
    sizes = _LEVELS | {name: max(2, len(found)) for name, found in heads.items()}
    labels = {name: cells.labels(f"label_{name}", classes) for name, classes in sizes.items()}
    fine, coarse = labels[FINE], labels[COARSE]
    implied = np.where(fine == MISSING, MISSING, fine >= OA_FROM_GRADE)
    labels[COARSE] = np.where(coarse == MISSING, implied, coarse).astype(np.int64)
    return Predictions(
        source=source,
        knee=knee[order],
        subject=subject[order],
        subject_given="subject" in cells.columns,
        labels={name: values[order] for name, values in labels.items()},
        heads={name: _head(cells, name, found, order) for name, found in heads.items()},
    )


def _head(cells: Cells, name: str, columns: Sequence[str], order: npt.NDArray[np.int64]) -> HeadPredictions:
    p = cells.probabilities(columns)
    decided = f"pred_{name}" in cells.columns
    predicted = cells.decisions(f"pred_{name}", p.shape[1]) if decided else decisions(p)
    scored = f"severity_{name}" in cells.columns
    severity = cells.scores(f"severity_{name}") if scored else p @ np.arange(p.shape[1])
    return HeadPredictions(p[order], predicted[order], severity[order])
