"""Tables of saliency overlap: every condition beside chance and controls, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from oahier.files import read_frame
from oahier.statistics import Comparison, paired_difference, summarise_values
from oahier.study.cells import Cell
from oahier.study.pairs import Condition, Pair, conditions, pairs, summary_row
from oahier.study.results import Study

MEASURES = (
    "mass_in_cartilage",
    "enrichment",
    "pointing",
    "iou",
    "dice",
    "precision_top_1",
    "precision_top_5",
    "precision_top_10",
)
SINCE = ("auroc", "auprc", "peak_mm")
"""Metrics that cells of before do not have."""  # fmt: skip
UNBOUNDED = ("enrichment", "peak_mm")
"""Metrics that may exceed 1; the others are shares and areas. No interval is below 0."""
_NAMES = ("method", "measure")


def methods(cell: Cell) -> list[str]:
    """Saliency methods that a cell was explained with, ``<method>-<head>``."""
    return sorted(path.stem for path in (cell.folder / "saliency").glob("*.csv"))


def saliency(cell: Cell, method: str) -> pd.DataFrame:
    """Overlap metrics of every test knee, by knee."""
    path = cell.folder / "saliency" / f"{method}.csv"
    table = read_frame(path, ("knee", "subject"))
    missing = [name for name in ("knee", "subject", "cartilage_share", *MEASURES) if name not in table]
    if missing:
        raise ValueError(f"{path}: expected a column {missing[0]!r}, got {list(table)}; run the cell again")
    return table.set_index("knee")


def saliency_rows(study: Study) -> list[dict[str, Any]]:
    """Means over test knees with intervals, the chance level and the controls."""
    return [row for condition in conditions(study) for row in _rows(condition)]


def _rows(condition: Condition) -> Iterator[dict[str, Any]]:
    cells = list(condition.cells.values())
    for method in methods(cells[0]):
        tables = [saliency(cell, method) for cell in cells]
        for measure in (*MEASURES, *(name for name in SINCE if all(name in table for table in tables))):
            values = np.stack([table[measure].to_numpy(dtype=np.float64) for table in tables])
            found = summarise_values(
                values,
                tables[0]["subject"].tolist(),
                task=method,
                metric=measure,
                scale="log" if measure in UNBOUNDED else "logit",
            )
            row = summary_row(condition, found, _NAMES)
            row["chance"] = _chance(tables, measure)
            for column, name in _controls(measure).items():
                row[column] = _mean(tables, name)
            yield row


def _controls(measure: str) -> dict[str, str]:
    """Columns with what the metric would be elsewhere, or at best."""
    other = {"mass_in_cartilage": "mass_in_other_cartilage", "enrichment": "enrichment_in_other_cartilage"}
    return {
        "other_cartilage": other.get(measure, ""),
        "image": f"{measure}_of_image",
        "randomised": f"{measure}_randomised",
        "bound": "iou_bound" if measure == "iou" else "",
    }


def _mean(tables: Sequence[pd.DataFrame], column: str) -> float:
    if not column or any(column not in table for table in tables):
        return float("nan")
    return float(np.mean([table[column].mean() for table in tables]))


def _chance(tables: Sequence[pd.DataFrame], measure: str) -> float:
    """What a map that knows nothing of the knee would get on average, from the share of cartilage."""
    fixed = {"enrichment": 1.0, "auroc": 0.5, "peak_mm": float("nan")}
    if measure in fixed:
        return fixed[measure]
    share = pd.concat([table["cartilage_share"] for table in tables])
    return float((share / (2 - share)).mean() if measure == "iou" else share.mean())


def saliency_comparisons(study: Study) -> Iterator[tuple[Pair, Comparison]]:
    """Paired differences of the methods that both sides have."""
    for pair in pairs(study):
        cells = [*pair.a, *pair.b]
        shared = sorted(set.intersection(*(set(methods(cell)) for cell in cells)))
        for method in shared:
            sides = [[saliency(cell, method) for cell in side] for side in (pair.a, pair.b)]
            first = sides[0][0]
            if any(not table.index.equals(first.index) for side in sides for table in side):
                raise ValueError(
                    f"saliency of {method!r} was computed for different knees in {cells[0].folder.parent}"
                )
            for measure in MEASURES:
                a, b = (
                    np.stack([table[measure].to_numpy(dtype=np.float64) for table in side]) for side in sides
                )
                yield (
                    pair,
                    paired_difference(
                        a,
                        b,
                        first["subject"].tolist(),
                        task=method,
                        metric=measure,
                        largest=math.inf if measure == "enrichment" else 1.0,
                        paired=True,
                    ),
                )
