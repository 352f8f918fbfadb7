"""The severity axis against columns of the manifest: covariates, and scans that were repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

import lightning as L

from oahier.callbacks.files import write_rows
from oahier.data.manifest.lookups import knee_groups, knee_numbers
from oahier.data.manifest.manifest import Manifest
from oahier.gathering import EpochTable
from oahier.hierarchy import FINE
from oahier.latent import SeverityAxisFit
from oahier.latent.discernible import discernible_grades
from oahier.latent.within_grade import WithinGrade, order_within_grades


class AxisCovariates:
    """What :class:`~oahier.SeverityAxis` measures by columns that the user names.

    Args:
        covariates: columns of numbers.
        repeats: columns whose equal cells, all of them, mark scans of one knee between which nothing changed.
    """

    def __init__(self, covariates: Sequence[str], repeats: Sequence[str]) -> None:
        self.covariates, self.repeats = tuple(covariates), tuple(repeats)

    def check(self, trainer: L.Trainer) -> None:
        """Look the columns up before anything runs.

        Raises:
            ValueError: the trainer's data module has no manifest.
            ManifestError: the manifest has no such columns.
        """
        if self.covariates or self.repeats:
            manifest = _manifest(trainer)
            for name in self.covariates:
                knee_numbers(manifest, name, [])
            knee_groups(manifest, self.repeats, [])

    def measured(
        self, trainer: L.Trainer, fit: SeverityAxisFit, table: EpochTable
    ) -> tuple[dict[str, float], list[WithinGrade]]:
        """Values to log, and the rows of the table of orders inside grades."""
        values: dict[str, float] = {}
        if not self.covariates and not self.repeats:
            return values, []
        manifest, place = _manifest(trainer), fit.project(table["embedding"]).numpy()
        named = {name: knee_numbers(manifest, name, table.knee) for name in self.covariates}
        rows = order_within_grades(place, table.labels(FINE).numpy(), named, table.subject)
        values |= {f"{row.covariate}_in_{row.group}": row.spearman for row in rows}
        if self.repeats:
            found = discernible_grades(place, knee_groups(manifest, self.repeats, table.knee), table.subject)
            values |= {
                "discernible": found.grades, "discernible_low": found.ci_low,
                "discernible_high": found.ci_high, "measurement_error": found.error,
            }  # fmt: skip
        return values, rows


def write_orders(path: Path, rows: Sequence[WithinGrade]) -> None:
    """Write the orders inside grades as a table; nothing without covariates."""
    if rows:
        write_rows(path, [field.name for field in fields(WithinGrade)], [astuple(row) for row in rows])


def _manifest(trainer: L.Trainer) -> Manifest:
    data = getattr(trainer, "datamodule", None)
    manifest = getattr(data, "manifest", None)
    if not isinstance(manifest, Manifest):
        raise ValueError(
            "SeverityAxis: covariates and repeats: expected a data module with a manifest, as "
            f"oahier.KneeMRIDataModule has, got {type(data).__name__}"
        )
    return manifest
