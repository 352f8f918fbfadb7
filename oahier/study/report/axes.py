"""Test knees along the severity axis of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from oahier.files import read_frame
from oahier.hierarchy import FINE, head_label
from oahier.pages.text import number
from oahier.study.axis_tables import CellAxis, Embedded
from oahier.study.cell_files import read_predictions
from oahier.study.cells import Cell
from oahier.study.report.contents import Contents
from oahier.study.report.names import Style
from oahier.types import MISSING

_EMBEDDED = ("predictions.csv", "embeddings.npz")
_SHOWN = (("|ρ| with KL", "spearman_kl"), ("OA probe AUC", "probe_auc"), ("d′", "separation"))


@dataclass(frozen=True)
class AxisPanel:
    """Projections of the test knees of one cell.

    Args:
        cell: its name.
        title: condition and replicate.
        style: how it is drawn.
        knees: ids.
        projection: coordinate along the axis.
        grades: KL, ``MISSING`` where unknown.
        summary: metrics, as printed.
    """

    cell: str
    title: str
    style: Style
    knees: tuple[str, ...]
    projection: npt.NDArray[np.float64]
    grades: npt.NDArray[np.int64]
    summary: str


def axis_panels(contents: Contents) -> list[AxisPanel]:
    """A panel for every finished cell whose axis can be told.

    Coordinates are those that the tables left in ``axis.csv``; without it, along the first principal
    component of the training knees in ``train/embeddings.npz``; without these, those
    in ``severity_axis.csv``.
    """
    panels = []
    for cell in contents.finished:
        table = _from_table(cell.folder / "axis.csv", "pca")
        table = _projected(cell) if table is None else table
        if table is None or not len(table):
            continue
        panels.append(
            AxisPanel(
                cell.name, contents.title(cell), contents.style(cell.factors), tuple(table["knee"]),
                table["projection"].to_numpy(dtype=float), table["kl"].to_numpy(dtype=np.int64),
                _summary(contents.tables.get("axis"), cell.name),
            )
        )  # fmt: skip
    return panels


def _projected(cell: Cell) -> pd.DataFrame | None:
    axis = fitted_axis(cell)
    if axis is None:
        return _from_table(cell.folder / "severity_axis.csv", "projection")
    table = pd.DataFrame({"knee": axis.knee, "projection": axis.projection, "kl": axis.kl})
    return table.dropna(subset=["projection"])


def fitted_axis(cell: Cell) -> CellAxis | None:
    """The first principal component of a cell's training knees; ``None`` without embeddings."""
    files = [cell.folder / split / name for split in ("", "train") for name in _EMBEDDED]
    if not all(path.is_file() for path in files):
        return None
    return CellAxis(Embedded(cell, "train"), Embedded(cell, "."), "pca")


def labels_by_knee(cell: Cell) -> dict[str, int]:
    """Grade of each test knee, ``MISSING`` where unknown; empty without predictions."""
    found = read_predictions(cell.folder)
    return {} if found is None else dict(zip(found.knee.tolist(), found.labels[FINE].tolist(), strict=True))


def grade_name(grade: int) -> str:
    """A grade as it is read.

    >>> grade_name(3), grade_name(MISSING)
    ('KL 3', 'no grade')
    """
    return "no grade" if grade == MISSING else f"{head_label(FINE)} {grade}"


def _from_table(path: Path, projection: str) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = read_frame(path, ("knee",))
    for column in ("knee", projection, "kl"):
        if column not in table:
            raise ValueError(f"{path}: expected a column {column!r}, got {list(table)}")
    if "split" in table:
        table = table[table["split"] != "train"]
    table = pd.DataFrame({"knee": table["knee"], "projection": table[projection], "kl": table["kl"]})
    table["kl"] = table["kl"].fillna(MISSING).astype(int)
    known: pd.DataFrame = table.dropna(subset=["projection"])
    return known


def _summary(measures: pd.DataFrame | None, cell: str) -> str:
    if measures is None:
        return ""
    rows = measures[(measures["cell"] == cell) & (measures["kind"] == "pca")]
    if not len(rows):
        return ""
    values = rows.iloc[0].to_dict()
    return ", ".join(f"{label} {number(float(values[key]))}" for label, key in _SHOWN if key in values)
