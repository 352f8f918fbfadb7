"""Rows of tables of comparisons and summaries, and their files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from oahier.files import write_atomically


@dataclass(frozen=True)
class Comparison:
    """One metric of two models: a row of the table that ``oahier compare`` writes.

    An undefined number is NaN. ``a`` and ``b`` are means over seeds; the interval is the percentile 95 %
    interval of the resampled differences.
    """

    task: str
    metric: str
    a: float
    b: float
    difference: float
    """b - a."""
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    """``paired_bootstrap``, ``mcnemar_exact``, ``mcnemar_chi2`` or ``delong``."""
    n: int
    """Knees."""
    p_adjusted: float
    correction: str
    """``none``, ``bh`` or ``holm``."""
    effect: str
    """What ``effect_size`` is: ``standardised_difference`` (difference over its bootstrap standard error)
    or ``discordant_odds_ratio`` (knees only b got right over knees only a got right)."""
    effect_size: float
    subjects: int
    seeds: int
    """Trained models a side (the fewer, if they differ)."""
    resampled: str
    """``subjects``, ``subjects and seeds``, or ``nothing`` with a single subject."""
    undefined: int
    """Resamples without a defined difference; they are in neither interval nor p value."""
    model_a: str = ""
    model_b: str = ""


@dataclass(frozen=True)
class Summary:
    """One metric of one model, over its seeds."""

    task: str
    metric: str
    value: float
    """Mean over seeds."""
    ci_low: float
    ci_high: float
    seed_sd: float
    """Standard deviation over seeds; NaN with one."""
    seeds: int
    knees: int
    subjects: int
    resampled: str
    undefined: int


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
