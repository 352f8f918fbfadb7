"""Columns of a manifest with the thickness and volume of the cartilage in the label maps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd

from oahier.data.manifest.columns import row_number
from oahier.data.manifest.manifest import Manifest
from oahier.images import UnreadableImage, read_image
from oahier.images.knee import label_findings
from oahier.images.thickness import COMPARTMENTS, CartilageSize, cartilage_sizes
from oahier.problems import ManifestError, Problem
from oahier.processes import process_map
from oahier.progress import progress as show

CARTILAGE_COLUMNS = tuple(
    f"{name}_{measured}" for name in COMPARTMENTS for measured in ("thickness_mm", "volume_mm3")
)
"""``femoral_thickness_mm``, ``femoral_volume_mm3`` and the same of both tibial plates."""


def with_cartilage_columns(manifest: Manifest, *, workers: int = 0, progress: bool = False) -> Manifest:
    """A copy with :data:`CARTILAGE_COLUMNS`, measured in each knee's label map on its own grid.

    Thickness and volume are those of :func:`~oahier.images.thickness.cartilage_size`. A knee without a label
    map, and a compartment that the map lacks, have NaN. Columns of these names are replaced.

    Args:
        manifest: of the knees.
        workers: processes that measure; 0 for this one.
        progress: show a bar.

    Raises:
        ManifestError: no knee has a label map, or maps that cannot be read; all of them are listed.
    """
    paths = [manifest.file(position, "cartilage") for position in range(len(manifest))]
    given = [path for path in paths if path is not None]
    if not given:
        message = "expected label maps to measure, got none; name them in the column `cartilage`"
        raise ManifestError(manifest.name, [Problem(message, column="cartilage")])
    results = process_map(_measured, given, workers)
    measured = iter(list(show(results, len(given), "Label maps", show=progress)))
    rows, problems = [], []
    for index, path in zip(manifest.table.index, paths, strict=True):
        found = {} if path is None else next(measured)
        if isinstance(found, str):
            knee = str(manifest.table.at[index, "knee"])
            problems.append(Problem(found, row_number(index), knee, "cartilage", kind="files"))
            continue
        rows.append(_row(found))
    if problems:
        raise ManifestError(manifest.name, problems)
    columns = pd.DataFrame(rows, index=manifest.table.index, columns=list(CARTILAGE_COLUMNS))
    return replace(manifest, table=manifest.table.assign(**columns.round(4)))


def _measured(path: Path) -> dict[str, CartilageSize] | str:
    """Sizes of the compartments of a label map, or why there are none."""
    try:
        image = read_image(path)
    except UnreadableImage as error:
        return str(error)
    errors = [item.message for item in label_findings(path, image.data) if item.severity == "error"]
    return errors[0] if errors else cartilage_sizes(image.data, image.grid)


def _row(sizes: dict[str, CartilageSize]) -> list[float]:
    nothing = CartilageSize(math.nan, math.nan)
    found = [sizes.get(name, nothing) for name in COMPARTMENTS]
    return [value for size in found for value in (size.thickness, size.volume)]
