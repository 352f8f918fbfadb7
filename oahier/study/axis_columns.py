"""Tables of the severity axis against columns of a manifest that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.data.manifest.lookups import knee_groups, knee_numbers
from oahier.data.manifest.manifest import Manifest, read_manifest
from oahier.latent import discernible_grades, order_within_grades
from oahier.study.cells import Cell


@dataclass(frozen=True)
class AxisColumns:
    """Columns to compare axes with.

    Args:
        covariates: columns of numbers, see :func:`~oahier.latent.order_within_grades`.
        repeats: columns that mark scans of one knee, see :func:`~oahier.latent.discernible_grades`.
        manifest: file with them; that of each cell when not given.
    """

    covariates: Sequence[str] = ()
    repeats: Sequence[str] = ()
    manifest: Path | None = None

    def of(self, cell: Cell) -> Manifest | None:
        """The manifest for a cell; ``None`` where no column is asked for."""
        if not (self.covariates or self.repeats):
            return None
        return read_manifest(self.manifest or Path(cell.config["data"]["manifest"]))


NO_COLUMNS = AxisColumns()


def orders(
    columns: AxisColumns, manifest: Manifest | None, knees: Sequence[str], subjects: Sequence[str],
    grades: npt.NDArray[np.int64], projection: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of the order inside grades along one axis; none without covariates."""
    if manifest is None:
        return []
    named = {name: knee_numbers(manifest, name, knees) for name in columns.covariates}
    return [asdict(row) for row in order_within_grades(projection, grades, named, subjects)]


def repeatability(
    columns: AxisColumns, manifest: Manifest | None, knees: Sequence[str], subjects: Sequence[str],
    projection: npt.NDArray[np.float64],
) -> dict[str, Any]:  # fmt: skip
    """How many grades one axis can tell apart, as columns of its row; none without repeated scans."""
    if manifest is None or not columns.repeats:
        return {}
    found = discernible_grades(projection, knee_groups(manifest, columns.repeats, knees), subjects)
    return {
        "discernible": found.grades, "discernible_low": found.ci_low, "discernible_high": found.ci_high,
        "measurement_error": found.error, "repeated_scans": found.scans, "repeated_subjects": found.subjects,
        "discernible_note": found.note,
    }  # fmt: skip
