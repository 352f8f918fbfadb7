"""Counts and ranges of a cohort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from oahier.audit.findings import LABEL_NAMES, numbers_of, volumes_of
from oahier.data.manifest.columns import SPLITS
from oahier.data.splitting.balance import balance_of, category_name, class_column
from oahier.data.splitting.strata import values_of

DEFAULT_COVARIATES = ("sex", "gender", "site")
_ALL = "all"
_SHAPES = 20
_SHARES = ("zeros", "saturated")


def default_covariates(table: pd.DataFrame) -> list[str]:
    """Columns that are counted unless others are asked for: sex, gender and site, in any case."""
    return [str(name) for name in table if str(name).lower() in DEFAULT_COVARIATES]


def table_counts(table: pd.DataFrame, covariates: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Tables that need no files.

    Returns:
        ``cohort`` (a row per split), ``grades`` (a row per grade, a column per split) and, named like the
        covariate, a row per value and split with a column per grade.
    """
    found = {"cohort": _cohort(table), "grades": _grades(table)}
    return found | {name: _by_grade(table, name) for name in covariates}


def file_tables(knees: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """``geometry``, ``intensity`` and ``labels`` of the knees that were read."""
    read = knees[knees["facts"].map(bool)]
    if read.empty:
        return {}
    tables = {"geometry": _geometry(read), "intensity": _intensity(read)}
    labels = _labels(read)
    return tables | ({} if labels.empty else {"labels": labels})


def _parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    parts = [(split, table[table["split"] == split]) for split in SPLITS if (table["split"] == split).any()]
    return [*parts, (_ALL, table)]


def _cohort(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "split": split,
            "knees": len(part),
            "subjects": part["subject"].nunique(),
            "visits": part.loc[part["visit"] != "", "visit"].nunique(),
            "right": int((part["side"] == "right").sum()),
            "left": int((part["side"] == "left").sum()),
            "side unknown": int((part["side"] == "").sum()),
            "with label map": int((part["cartilage"] != "").sum()),
        }
        for split, part in _parts(table)
    ]
    return pd.DataFrame(rows)


def _grades(table: pd.DataFrame) -> pd.DataFrame:
    name = class_column(table)
    counts = balance_of(table, [name]).table
    counts = counts[counts["group"] == name]
    counts.insert(0, "grade", [category_name(name, value) for value in counts["value"]])
    return counts.drop(columns=["group", "value"]).reset_index(drop=True)


def _by_grade(table: pd.DataFrame, covariate: str) -> pd.DataFrame:
    name = class_column(table)
    grades = values_of(table, name)
    order = list(dict.fromkeys(balance_of(table, [name]).table.query("group == @name")["value"]))
    values = values_of(table, covariate)
    rows = []
    for value in balance_of(table, [covariate]).table.query("group == @covariate")["value"]:
        for split, part in _parts(table):
            if not (values[part.index] == value).any():
                continue
            chosen = grades[part.index][values[part.index] == value]
            counts = {category_name(name, grade): int((chosen == grade).sum()) for grade in order}
            rows.append({covariate: value, "split": split, **counts, _ALL: len(chosen)})
    return pd.DataFrame(rows)


def _geometry(knees: pd.DataFrame) -> pd.DataFrame:
    """The commonest combinations of shape, voxel size and axes; the rest in one row."""
    described = pd.DataFrame(
        {
            "voxels": knees["facts"].map(lambda facts: " x ".join(map(str, facts["shape"]))),
            "mm": knees["facts"].map(lambda facts: " x ".join(f"{s:.3g}" for s in facts["spacing"])),
            "axes": knees["facts"].map(lambda facts: facts["axes"]),
            "knee": knees["knee"],
        }
    )
    grouped = described.groupby(["voxels", "mm", "axes"], sort=False)["knee"]
    counts = grouped.agg(knees="size", example="first").reset_index()
    counts = counts.sort_values("knees", ascending=False, kind="stable", ignore_index=True)
    if len(counts) > _SHAPES:
        rest = counts.iloc[_SHAPES - 1 :]
        others = {"voxels": f"{len(rest)} others", "mm": "", "axes": "", "knees": rest["knees"].sum()}
        row = pd.DataFrame([{**others, "example": rest["example"].iloc[0]}])
        counts = pd.concat([counts.iloc[: _SHAPES - 1], row], ignore_index=True)
    return counts


def _intensity(read: pd.DataFrame) -> pd.DataFrame:
    names = {
        "mean": "mean", "sd": "standard deviation", "p01": "1st percentile", "p99": "99th percentile",
        "zeros": "zeros (%)", "saturated": "at the maximum (%)",
    }  # fmt: skip
    ranges = {
        words: _range(numbers_of(read, key) * (100 if key in _SHARES else 1)) for key, words in names.items()
    }
    return pd.DataFrame([{"measure": words, **found} for words, found in ranges.items()])


def _labels(read: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for label, words in LABEL_NAMES.items():
        volumes = volumes_of(read, label)
        known = volumes[np.isfinite(volumes)]
        if known.size:
            rows.append({"label": label, "tissue": words, "knees": known.size, **_range(known)})
    return pd.DataFrame(rows)


def _range(values: Float64[np.ndarray, " knees"]) -> dict[str, float]:
    low, p05, p50, p95, high = np.percentile(values, (0, 5, 50, 95, 100))
    return {"least": low, "5 %": p05, "median": p50, "95 %": p95, "most": high}
