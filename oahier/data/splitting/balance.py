"""Balance of grades and covariates over the splits, and classes that a split lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from oahier.data.manifest.columns import SPLITS
from oahier.data.splitting.strata import values_of
from oahier.hierarchy import DEFAULT_HIERARCHY
from oahier.types import MISSING


@dataclass(frozen=True)
class Deviation:
    """A category whose share in a part is not the wanted one."""

    group: str
    value: str
    part: str
    knees: int
    total: int
    wanted: float

    @property
    def name(self) -> str:
        """The category in words, such as ``KL 3`` or ``site Graz``."""
        return category_name(self.group, self.value)

    @property
    def size(self) -> float:
        """Reached minus wanted share of the category's knees."""
        return self.knees / self.total - self.wanted

    def __str__(self) -> str:
        reached = f"{self.knees} of {self.total} knees, {self.knees / self.total:.1%}"
        return f"{self.name} in {self.part}: {reached}, wanted {self.wanted:.1%}"


@dataclass(frozen=True, eq=False)
class Balance:
    """Knees of every category in every part.

    ``table`` has a row per category, columns ``group`` and ``value``, a column of counts for each part, and
    ``all``; its first rows are the knees and the subjects. ``wanted`` holds the share of each part.
    """

    table: pd.DataFrame
    wanted: Mapping[str, float]

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that hold knees or should."""
        return tuple(self.wanted)

    @property
    def missing(self) -> list[Deviation]:
        """Classes that are in the manifest but not in a part: grades, or OA where no grade is known."""
        known = self.table[self.table["value"].str.isdigit()]
        found = (known[known["group"] == name] for name in DEFAULT_HIERARCHY.levels)
        rows = next((rows for rows in found if len(rows)), known[:0])
        return [gap for gap in self._deviations(rows) if gap.knees == 0]

    @property
    def largest(self) -> Deviation | None:
        """The category and part whose share is farthest from the wanted one; ``None`` without knees."""
        found = self._deviations(self.table[self.table["group"] != "subjects"])
        return max(found, key=lambda deviation: abs(deviation.size), default=None)

    def _deviations(self, rows: pd.DataFrame) -> list[Deviation]:
        return [
            Deviation(row["group"], row["value"], part, int(row[part]), int(row["all"]), self.wanted[part])
            for _, row in rows.iterrows()
            for part in self.parts
            if row["all"]
        ]

    def __str__(self) -> str:
        knees = self.table.iloc[0]
        counts = ", ".join(
            f"{part} {knees[part]} ({knees[part] / max(knees['all'], 1):.1%})" for part in self.parts
        )
        largest = f"; largest deviation: {self.largest}" if self.largest else ""
        return f"{knees['all']} knees: {counts}{largest}"


def balance_of(
    table: pd.DataFrame, stratify: Sequence[str] = ("kl",), wanted: Mapping[str, float] | None = None
) -> Balance:
    """Count a split table.

    Args:
        table: a manifest's table with splits.
        stratify: columns to count; ``kl`` stands for OA where the grade is unknown.
        wanted: share of each part; those reached by the knees when not given.

    >>> table = pd.DataFrame({"subject": list("abcd"), "kl": [0, 0, 2, 2], "oa": [0, 0, 1, 1],
    ...                       "split": ["train", "train", "train", "test"]})
    >>> balance = balance_of(table, wanted={"train": 0.5, "test": 0.5})
    >>> [f"{gap.name} not in {gap.part}" for gap in balance.missing], str(balance.largest)
    (['KL 0 not in test'], 'KL 0 in train: 2 of 2 knees, 100.0%, wanted 50.0%')
    """
    if wanted is None:
        wanted = {
            part: float((table["split"] == part).mean()) for part in SPLITS if (table["split"] == part).any()
        }
    parts = [part for part in wanted if wanted[part] > 0]
    rows = [_row("knees", "", table, parts), _row("subjects", "", table.drop_duplicates("subject"), parts)]
    for name in dict.fromkeys(stratify):
        values = values_of(table, name)
        rows += [
            _row(name, value, table[values == value], parts) for value in sorted(values.unique(), key=_order)
        ]
    counted = pd.DataFrame(rows, columns=["group", "value", *parts, "all"])
    return Balance(counted, {part: float(wanted[part]) for part in parts})


def class_column(table: pd.DataFrame) -> str:
    """The finest level that is known of any knee; the finest of all where nothing is known."""
    levels = DEFAULT_HIERARCHY.levels
    return next((name for name in levels if (table[name] != MISSING).any()), levels[0])


def category_name(group: str, value: str) -> str:
    """A category in words.

    >>> category_name("kl", "3"), category_name("site", "Graz"), category_name("kl", "no grade, OA 1")
    ('KL 3', 'site Graz', 'no grade, OA 1')
    """
    if group in ("knees", "subjects"):
        return group
    if value.startswith("no grade"):
        return value
    return f"{group.upper() if group in DEFAULT_HIERARCHY.levels else group} {value}"


def _row(group: str, value: str, table: pd.DataFrame, parts: Sequence[str]) -> list[object]:
    return [group, value, *(int(np.count_nonzero(table["split"] == part)) for part in parts), len(table)]


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers and scales by size, then text, the unknown last."""
    first = value.split(" ")[0]
    try:
        return False, float(first), value
    except ValueError:
        return value.startswith(("unknown", "no grade")), float("inf"), value
