"""Columns of a manifest, looked up by knee: covariates that are numbers, and scans that were repeated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from oahier.data.manifest.columns import COLUMNS
from oahier.data.manifest.manifest import Manifest
from oahier.problems import ManifestError, Problem


def knee_numbers(manifest: Manifest, column: str, knees: Sequence[str]) -> Float64[np.ndarray, " knees"]:
    """A covariate of some knees; NaN where its cell is empty, and of a knee that the manifest lacks.

    Raises:
        ManifestError: no such column, or one that does not hold numbers.
    """
    table = manifest.table
    numbers = [
        str(name) for name in table if name not in COLUMNS and pd.api.types.is_numeric_dtype(table[name])
    ]
    if column not in numbers:
        message = f"covariate {column!r}: expected a column of numbers, one of {', '.join(numbers) or 'none'}"
        raise ManifestError(manifest.name, [Problem(message, column=column)])
    return np.asarray(table.set_index("knee")[column].reindex(list(knees)), dtype=np.float64)


def knee_groups(manifest: Manifest, columns: Sequence[str], knees: Sequence[str]) -> list[str]:
    """The cells of some columns joined, by which scans of one knee are found; ``""`` where one is empty.

    Raises:
        ManifestError: no such column.
    """
    missing = [name for name in columns if name not in manifest.table]
    if missing:
        message = f"missing column {missing[0]!r}, by which repeated scans are told"
        raise ManifestError(manifest.name, [Problem(message, column=missing[0])])
    cells = manifest.table.set_index("knee")[list(columns)].astype(str).reindex(list(knees)).fillna("")
    return ["/".join(row) if all(row) else "" for row in cells.itertuples(index=False)]
