"""Files of a cell, read with the name of the file in every error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

from oahier.study.cells import Cell


def read_predictions(folder: Path) -> pd.DataFrame | None:
    """The predictions in a folder, or ``None``.

    Raises:
        ValueError: a file that is no table of knees.
    """
    path = folder / "predictions.csv"
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype={"knee": str, "subject": str}, keep_default_na=False, na_values=[""])
    except ValueError as error:
        raise ValueError(f"{path}: expected predictions as CSV, got {error}") from error
    if "knee" not in table:
        raise ValueError(f"{path}: expected a column 'knee', got {list(table)}")
    return table


def read_embeddings(folder: Path) -> dict[str, npt.NDArray[Any]] | None:
    """Embeddings by knee in a folder, or ``None``.

    Raises:
        ValueError: a damaged file.
    """
    arrays = read_arrays(folder / "embeddings.npz", ("knee", "embedding"))
    return None if arrays is None else {str(k): e for k, e in zip(*arrays, strict=True)}


def read_arrays(path: Path, names: Sequence[str]) -> list[npt.NDArray[Any]] | None:
    """Named arrays of an ``.npz`` file, or ``None`` where there is none.

    Raises:
        ValueError: a damaged file, or one without these arrays.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return [np.asarray(stored[name]) for name in names]
    except (KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path}: expected arrays {', '.join(names)}, got {error}; remove it and run the study again"
        ) from error


def read_facts(cell: Cell) -> dict[str, Any]:
    """``metrics.json`` of a cell; empty where it does not exist.

    Raises:
        ValueError: a damaged file.
    """
    path = cell.folder / "metrics.json"
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from error
    return content
