"""Target columns of a manifest: classes are whole numbers, measurements any others."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from oahier.data.manifest.columns import COLUMNS, LEVELS, parse_classes, row_number
from oahier.problems import Problem
from oahier.types import MISSING


def classes_of(name: str) -> int | None:
    """Number of classes of a level or of a further reading of it; ``None`` for another column.

    >>> [classes_of(name) for name in ("kl", "kl_2", "oa_reader3", "jsw")]
    [5, 5, 2, None]
    """
    found = re.fullmatch(rf"({'|'.join(LEVELS)})(_\w+)?", name)
    return LEVELS[found[1]] if found else None


def target_names(table: pd.DataFrame) -> list[str]:
    """Columns that can be targets: the levels, and covariates that hold numbers."""
    numbers = [name for name in table if name not in COLUMNS and pd.api.types.is_numeric_dtype(table[name])]
    return [*LEVELS, *map(str, numbers)]


def parse_target(
    values: pd.Series, cells: pd.Series, knees: pd.Series, name: str
) -> tuple[pd.Series, list[Problem]]:
    """A column as classes (int64, ``MISSING`` where unknown) or measurements (float32, NaN where unknown).

    Levels and their readings (``kl``, ``kl_2``) are classes, and so is a column of whole numbers from 0 on.
    Any other numbers are measurements, a joint-space width in mm for example.

    Args:
        values: the column as the manifest holds it.
        cells: the same as text.
        knees: names for messages.
        name: of the column.
    """
    classes = classes_of(name)
    labels, problems = parse_classes(cells, knees, name, classes)
    if not problems or classes is not None or not pd.api.types.is_numeric_dtype(values):
        return labels, problems
    infinite = values.index[np.isinf(values)]
    message = "expected a finite number, or an empty cell where it is unknown, got an infinite one"
    found = [Problem(message, row_number(index), str(knees.at[index]), name) for index in infinite]
    return values.astype("float32"), found


def class_counts(labels: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Knees of each class of every column that has classes.

    >>> class_counts({"oa": np.array([0, 1, 1, -1]), "jsw": np.array([4.5, 3.1])})
    {'oa': [1, 2]}
    """
    return {
        name: np.bincount(values[is_known(values)], minlength=classes_of(name) or 0).tolist()
        for name, values in labels.items()
        if values.dtype.kind == "i"
    }


def is_known(values: np.ndarray) -> np.ndarray:
    """True where a knee has a class or a measurement.

    >>> is_known(np.array([1, -1])).tolist(), is_known(np.array([4.5, np.nan])).tolist()
    ([True, False], [True, False])
    """
    return np.asarray(~np.isnan(values) if values.dtype.kind == "f" else values != MISSING)
