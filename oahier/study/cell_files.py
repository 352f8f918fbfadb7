"""Files of a cell, read with the name of the file in every error."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from oahier import statistics
from oahier.statistics import Predictions
from oahier.study.cells import Cell


def read_predictions(folder: Path) -> Predictions | None:
    """The predictions in a folder, or ``None``; a diverged model's are NaN.

    Raises:
        ValueError: a file that is no table of predictions.
    """
    path = folder / "predictions.csv"
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


def predictions_of(folder: Path) -> Predictions:
    """The predictions in a folder, of which there must be some.

    Raises:
        ValueError: there are none, or a file that is no table of predictions.
    """
    found = read_predictions(folder)
    if found is None:
        raise ValueError(f"{folder}: expected predictions.csv; run the cell again")
    return found


@functools.lru_cache(maxsize=1024)
def _read(path: Path, _stamp: int) -> Predictions:
    return statistics.read_predictions(path, undefined=True)


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
