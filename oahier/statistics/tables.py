"""Rows of tables of comparisons and summaries, and their files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from oahier.files import csv_text, write_atomically
from oahier.metrics.registry import Better

Scope = Literal["recipe", "trained models", "one run", "nothing"]
"""What an interval generalises to: ``recipe``, new knees and new runs of training; ``trained models``, new
knees; ``one run``, new knees, with one model a side; ``nothing``, there is no interval."""


@dataclass(frozen=True)
class Comparison:
    """One metric of two models: a row of the table that ``oahier compare`` writes.

    An undefined number is NaN. ``a`` and ``b`` are means over seeds.
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
    """``obuchowski_rockette``, ``jackknife``, ``sign_flip``, ``mcnemar_exact``, ``mcnemar_chi2``, ``delong``,
    ``clustered_delong`` or ``paired_bootstrap``."""
    n: int
    """Knees."""
    p_adjusted: float
    correction: str
    """``none``, ``bh`` or ``holm``."""
    effect: str
    """What ``effect_size`` is: ``standardised_difference`` (difference over its standard error) or
    ``discordant_odds_ratio`` (knees only b got right over knees only a got right)."""
    effect_size: float
    subjects: int
    seeds: int
    """Trained models a side (the fewer, if they differ)."""
    scope: Scope
    undefined: int
    """Subjects left out, or resamples, without a defined difference."""
    p_not_better: float = math.nan
    """Chance that b is not better than a, given these data and a flat prior."""
    verdict: str = "undecided"
    """``superior``, ``inferior``, ``equivalent``, ``non-inferior`` or ``undecided``; see
    :func:`~oahier.statistics.claims.verdict`."""
    margin: float = math.nan
    """The stated margin."""
    detectable: float = math.nan
    """Smallest true difference that this design finds with 80 % power; infinite where no possible one is."""
    largest: float = math.inf
    """Largest difference that two values of the metric can have; intervals end there."""
    standard_error: float = math.nan
    df: float = math.nan
    """Degrees of freedom of the t distribution of ``difference / standard_error``."""
    better: Better = "larger"
    """Which values are better."""
    models_ci_low: float = math.nan
    """The interval for the trained models as they are; the first interval again where that is its scope."""
    models_ci_high: float = math.nan
    models_p_value: float = math.nan
    note: str = ""
    """One sentence, where something could not be computed in the usual way."""
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
    scope: Scope
    undefined: int


def write_table(path: Path | str, rows: Sequence[Comparison] | Sequence[Summary]) -> Path:
    """Write rows of one kind as CSV in one step; numbers in full precision, NaN as empty cells.

    Raises:
        ValueError: no rows.
        OSError: the file cannot be written.
    """
    if not rows:
        raise ValueError(f"{path}: expected at least one row, got none")
    columns = [field.name for field in fields(rows[0])]
    return write_atomically(path, csv_text(columns, map(astuple, rows)))
