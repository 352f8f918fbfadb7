"""Comparisons and summaries as files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from oahier.files import write_atomically
from oahier.statistics.bootstrap import Comparison, Summary


def write_table(path: Path | str, rows: Sequence[Comparison] | Sequence[Summary]) -> Path:
    """Write rows of one kind as CSV in one step; numbers in full precision, NaN as empty cells.

    Raises:
        ValueError: no rows.
        OSError: the file cannot be written.
    """
    if not rows:
        raise ValueError(f"{path}: expected at least one row, got none")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(rows[0]))
    for row in rows:
        writer.writerow(_cell(value) for value in astuple(row))
    return write_atomically(path, text.getvalue())


def _cell(value: object) -> object:
    return "" if isinstance(value, float) and math.isnan(value) else value
