"""Importer of a CSV, Excel or SAS table with the paths and labels of knees."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from oahier.images.knee import LABEL_IDS
from oahier.intake.candidate import Candidate, ImportResult, LeftOut
from oahier.intake.journal import written_files
from oahier.intake.label_maps import LabelIds
from oahier.intake.options import ImportKeywords, ImportOptions, read_ids, read_pairs, series_pattern
from oahier.intake.path_patterns import Template, exists
from oahier.intake.series_choice import choose_series
from oahier.intake.spreadsheets import LabelTable, read_table, restore_zeros
from oahier.intake.table_rows import TableColumns, TableRow, check_grades, table_columns, table_rows
from oahier.intake.write import finish_import


def import_table(
    source: str | Path,
    destination: str | Path,
    *,
    columns: Mapping[str, str] | str = "",
    mri: str = "",
    cartilage: str = "",
    root: str | Path | None = None,
    values: Mapping[str, str] | str = "",
    covariates: str = "all",
    labels: Mapping[int, int] | str = "",
    resample_masks: bool = False,
    series: str = "",
    sheet: str | None = None,
    separator: str | None = None,
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    r"""Import knees from a table: CSV, Excel or SAS with a row per knee.

    A column called as one of a manifest (``knee, subject, side, visit, mri, cartilage, kl, oa, split``, in
    any case) is that column; ``columns`` names the others. A subject is required, it is never guessed.
    Knees without a name are called ``<subject>-<side>-<visit>``, as far as these are known. A grade is a
    number 0-4 or empty: a knee with any other grade is left out, and a column with no grade at all refused.

    Args:
        source: the table.
        destination: folder for the manifest.
        columns: for a manifest's column, or a covariate, the table's: ``knee=ID,subject=patient,kl=grade``.
        mri: path of the image, where no column holds it, with ``{placeholders}`` for columns:
            ``scans/{ID}_{side}.nii.gz``. Shell patterns are fine as long as one file matches.
        cartilage: path of the label map, likewise.
        root: folder that paths start from; the table's when not given.
        values: mapping of codes to values: ``side.1=right,side.2=left,sex.1=M``.
        covariates: further columns to keep: ``all``, ``none``, or names with commas between them.
        labels: our ids for those of the label maps: ``1=2,2=4,3=5``; 0 leaves one out.
        resample_masks: bring label maps onto the image's grid by the nearest voxel.
        series: regular expression that finds the series of a DICOM folder by its description.
        sheet: sheet of a workbook; the first one when not given.
        separator: separator of a text table; detected when not given.
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`.

    Raises:
        ValueError: the table cannot be read, a column is missing, or no knee can be used.
        OSError: source or destination cannot be read or written.
        ImportError: a SAS table without pyreadstat.
    """
    source, common = Path(source), ImportOptions(**shared)
    table = read_table(source, sheet=sheet, separator=separator)
    found = table_columns(table, read_pairs("columns", columns), covariates)
    finder = KneeFinder(
        Path(root) if root is not None else source.parent, Path(destination), found, mri, cartilage,
        series_pattern(series), mask_step(read_ids("labels", labels), resample_masks),
        common.kinds, [*table.notes],
    )  # fmt: skip
    candidates, left_out = finder.candidates(table, read_pairs("values", values))
    options = {
        "columns": found.named, "mri": mri, "cartilage": cartilage, "values": read_pairs("values", values),
        "labels": read_ids("labels", labels), "resample_masks": resample_masks, "series": series,
    }  # fmt: skip
    return finish_import(
        destination, candidates, left_out, importer="table", source=source, options=options,
        notes=finder.notes, **shared,
    )  # fmt: skip


def mask_step(ids: dict[int, int], resample: bool) -> LabelIds | None:
    """Conversion of the label maps; ``None`` where they have our ids and the image's grid."""
    if not ids and not resample:
        return None
    return LabelIds(ids or {value: value for value in LABEL_IDS}, resample)


@dataclass
class KneeFinder:
    """Turns rows into knees by looking for their files.

    Args:
        root: folder that paths start from.
        destination: of the import, whose own files are no sources.
        columns: of the table.
        mri: pattern of the image's path, empty where a column holds it.
        cartilage: that of the label map.
        series: for the description of a DICOM series.
        mask: conversion of label maps.
        insist: kinds of errors in spite of which an image is read.
        notes: what the table's reader decided; what is decided here is added.

    Raises:
        ValueError: no column or pattern of the image, or one that names no column.
    """

    root: Path
    destination: Path
    columns: TableColumns
    mri: str
    cartilage: str
    series: re.Pattern[str]
    mask: LabelIds | None
    insist: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = written_files(self.destination)
        self._templates = {
            name: Template(pattern, self.root, own)
            for name, pattern in (("mri", self.mri), ("cartilage", self.cartilage))
            if pattern
        }
        for name, template in self._templates.items():
            for column in template.columns:
                self.columns.check(column, f"the path of {name}, {template.pattern}")
        if "mri" not in self._templates and "mri" not in self.columns.named:
            raise ValueError(
                "expected a column with the path of the image (--columns mri=...) or a pattern (--mri "
                f"'scans/{{ID}}.nii.gz'), got neither; the columns are {', '.join(self.columns.all)}"
            )

    def restore_zeros(self, rows: list[TableRow]) -> None:
        """Give ids that stand in paths the leading zeros that file names have."""
        template = self._templates.get("mri")
        for column in template.columns if template else ():
            known = template.values(column) if template else set()
            restored, notes = restore_zeros([row.get(column) for row in rows if row.get(column)], known)
            if notes:
                self.notes += notes
                for row in rows:
                    row.set(column, restored.get(row.get(column), row.get(column)))

    def candidates(
        self, table: LabelTable, values: Mapping[str, str], name: Callable[[TableRow], str] | None = None
    ) -> tuple[list[Candidate], list[LeftOut]]:
        """The knees of a table, and its rows that are none with the reason and a name (their numbers).

        Raises:
            ValueError: none of its grades can be read, or ids could mean two things.
        """
        rows = table_rows(table, self.columns, values)
        check_grades(rows, lambda row: f"{table.path}, row {row.number}")
        self.restore_zeros(rows)
        found: list[Candidate] = []
        left_out: list[LeftOut] = []
        for row in rows:
            try:
                found.append(self.candidate(row))
            except ValueError as error:
                where = name(row) if name else f"{table.path.name} row {row.number}"
                left_out.append(LeftOut(where, row.knee, row.get("subject"), str(error)))
        return found, left_out

    def candidate(self, row: TableRow) -> Candidate:
        """The knee of a row.

        Raises:
            ValueError: why it is left out.
        """
        row.check()
        path, series = self._path(row, "mri"), None
        if path is None:
            raise ValueError("no path of an image")
        if path.is_dir():
            path, series = choose_series(path, self.series, self.insist)
        cartilage = self._path(row, "cartilage")
        return Candidate(
            row.knee, row.get("subject"), row.side, row.get("visit"), path, cartilage, row.kl, row.oa,
            row.split, row.covariates, series, self.mask if cartilage else None, insist=self.insist,
        )  # fmt: skip

    def _path(self, row: TableRow, column: str) -> Path | None:
        if column in self._templates:
            return self._templates[column].find(row.cells)
        cell = row.get(column)
        if not cell:
            return None
        path = self.root / cell.replace("\\", "/")
        if not exists(path):
            raise ValueError(f"there is no file {cell} in {self.root}")
        return path
