"""Counts of a data set that may be published with a model: nothing that names a person or a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from oahier.data.manifest.columns import LEVELS, SPLITS
from oahier.data.manifest.manifest import Manifest
from oahier.files import BLANK

_SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
_ENOUGH = 2
"""Subjects whose mean age is no single person's."""


def summary_of(manifest: Manifest) -> dict[str, Any]:
    """Knees, grades and people of each split, and the terms that the knees came under.

    Returns:
        ``splits`` holds for each split that has knees the numbers of ``knees`` and ``subjects``, knees of
        each ``kl`` grade and ``oa`` class, and where the manifest has such a column, the subjects of each
        ``sex``, mean and standard deviation of their ``age`` in years (of ``known`` subjects, at the first
        row of each) and the number of ``sites``; ``licences`` holds the knees of each text of a column
        ``licence``. Ids, paths and names of sites are left out.
    """
    table = manifest.table
    parts = {split: table[table["split"] == split] for split in SPLITS}
    return {
        "splits": {split: _part(part) for split, part in parts.items() if len(part)},
        "licences": _counts(_known(table, "licence", "license")),
    }


def _part(table: pd.DataFrame) -> dict[str, Any]:
    people = table.drop_duplicates("subject")
    found: dict[str, Any] = {"knees": len(table), "subjects": len(people)}
    for name, classes in reversed(LEVELS.items()):
        found[name] = [int((table[name] == value).sum()) for value in range(classes)]
    if sexes := _sexes(people):
        found["sex"] = sexes
    ages = pd.to_numeric(_known(people, "age"), errors="coerce")
    ages = ages[np.isfinite(ages)]
    if len(ages) >= _ENOUGH:
        mean, deviation = round(float(ages.mean()), 1), round(float(ages.std()), 1)
        found["age"] = {"mean": mean, "sd": deviation, "known": len(ages)}
    if sites := _known(people, "site").nunique():
        found["sites"] = sites
    return found


def _sexes(people: pd.DataFrame) -> dict[str, int]:
    """Subjects by sex; none where it is coded, since only its source knows the code."""
    known = _known(people, "sex", "gender").str.lower()
    counts = _counts(known.map(_SEXES).fillna("other"))
    if not set(counts) & set(_SEXES.values()):
        return {}
    unknown = len(people) - len(known)
    return counts | ({"unknown": unknown} if unknown else {})


def _known(table: pd.DataFrame, *names: str) -> pd.Series:
    """Known cells, as text, of the first column with one of the names, in any case."""
    for column in table:
        if str(column).lower() in names:
            cells = table[column].dropna().astype(str).str.split().str.join(" ")
            return cells[~cells.str.lower().isin(BLANK)]
    return pd.Series(dtype=str)


def _counts(cells: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in sorted(cells.value_counts().items())}
