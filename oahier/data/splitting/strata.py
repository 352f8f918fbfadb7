"""Counts that a split balances: knees of each grade and covariate value, by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Int64

from oahier.hierarchy import DEFAULT_HIERARCHY
from oahier.types import MISSING

BINS = 4
"""Quantile bins of a covariate with many different numbers."""

_FEW = 8
"""Up to so many different numbers are categories rather than a scale."""


@dataclass(frozen=True, eq=False)
class Strata:
    """The subjects of a table and their knees in each category.

    ``counts[s, c]`` is the number of knees of subject ``s`` in category ``c``. The categories of one
    ``group`` (a column, or two crossed) partition the knees.
    """

    subjects: tuple[str, ...]
    rows: Int64[np.ndarray, " rows"]
    """Subject number of each row of the table."""
    knees: Int64[np.ndarray, " subjects"]
    counts: Int64[np.ndarray, "subjects categories"]
    categories: tuple[tuple[str, str], ...]
    """Group and value of each category, such as ``("kl", "3")``."""

    def chosen(self, subjects: Int64[np.ndarray, " chosen"]) -> Strata:
        """Some of the subjects; their rows are forgotten."""
        return Strata(
            tuple(self.subjects[subject] for subject in subjects), np.zeros(0, dtype=np.int64),
            self.knees[subjects], self.counts[subjects], self.categories,
        )  # fmt: skip


def strata_of(table: pd.DataFrame, stratify: Sequence[str] = ("kl",)) -> Strata:
    """Count each subject's knees by every column and by grade crossed with every other column.

    Subjects are numbered by name, so that the order of the rows does not matter.

    Args:
        table: columns ``subject`` and those of ``stratify``.
        stratify: columns; ``kl`` stands for OA where the grade is unknown.

    Raises:
        ValueError: a column that the table lacks.

    >>> strata = strata_of(pd.DataFrame({"subject": ["b", "a", "b"], "kl": [2, 0, 3], "oa": [1, 0, 1]}))
    >>> strata.subjects, strata.knees.tolist(), strata.categories
    (('a', 'b'), [1, 2], (('kl', '0'), ('kl', '2'), ('kl', '3')))
    """
    names, rows = np.unique(table["subject"].to_numpy(dtype=str), return_inverse=True)
    columns = {name: values_of(table, name) for name in dict.fromkeys(stratify)}
    groups: dict[str, pd.Series] = dict(columns)
    for name in list(columns)[1:]:
        first = next(iter(columns))
        groups[f"{first} x {name}"] = columns[first] + ", " + columns[name]
    counts, categories = [], []
    for group, values in groups.items():
        found, codes = np.unique(values.to_numpy(dtype=str), return_inverse=True)
        counted = np.zeros((len(names), len(found)), dtype=np.int64)
        np.add.at(counted, (rows, codes), 1)
        counts.append(counted)
        categories += [(group, str(value)) for value in found]
    return Strata(
        tuple(str(name) for name in names),
        rows.astype(np.int64),
        np.bincount(rows, minlength=len(names)).astype(np.int64),
        np.concatenate(counts, axis=1) if counts else np.zeros((len(names), 0), dtype=np.int64),
        tuple(categories),
    )


def values_of(table: pd.DataFrame, name: str) -> pd.Series:
    """The category of every knee in a column, as text; a scale (age) is cut at its quartiles.

    Raises:
        ValueError: no such column.

    >>> values_of(pd.DataFrame({"kl": [3, -1], "oa": [1, 0]}), "kl").tolist()
    ['3', 'no grade, OA 0']
    """
    if name not in table:
        known = ", ".join(str(column) for column in table)
        raise ValueError(f"stratify: expected columns of the manifest, got {name!r}; it has {known}")
    values = table[name]
    if name in DEFAULT_HIERARCHY.levels:
        return _labels(table, name)
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _FEW:
        numbers, edges = pd.qcut(values, BINS, labels=False, retbins=True, duplicates="drop")
        words = {place: f"{low:.4g} to {high:.4g}" for place, (low, high) in enumerate(pairwise(edges))}
        return numbers.map(words).astype(object).where(values.notna(), "unknown").astype(str)
    if pd.api.types.is_numeric_dtype(values):
        return values.map(lambda value: "unknown" if pd.isna(value) else f"{value:g}").astype(str)
    return values.astype(str).str.strip().replace("", "unknown")


def _labels(table: pd.DataFrame, name: str) -> pd.Series:
    oa = (
        table["oa"].map(lambda value: "unknown" if value == MISSING else str(value))
        if "oa" in table
        else None
    )
    if name == "oa" and oa is not None:
        return oa.astype(str)
    if oa is None:
        oa = pd.Series("unknown", index=table.index)
    without: Mapping[str, str] = {
        "unknown": "no grade", "0": "no grade, OA 0", "1": "no grade, OA 1"
    }  # fmt: skip
    grades = table["kl"].map(lambda value: "" if value == MISSING else str(value)).astype(str)
    return grades.where(grades != "", oa.map(without)).astype(str)
