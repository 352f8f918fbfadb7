"""A table of grades joined to DICOM series by patient, side and date."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from oahier.intake.candidate import LeftOut
from oahier.intake.spreadsheets import read_table, restore_zeros
from oahier.intake.table_rows import TableRow, check_grades, table_columns, table_rows

_PATIENT = ("patient", "patientid", "patient_id", "patient id", "subject")


@dataclass
class DicomLabels:
    """Rows of a table that are looked up by what a DICOM header says.

    Args:
        name: of the table.
        rows: of the table, every one with a patient.
        coded: the table gives patients another name, which is written in place of theirs.
        notes: what had to be decided.
    """

    name: str
    rows: list[TableRow]
    coded: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows: dict[str, list[TableRow]] = {}
        for row in self.rows:
            self._rows.setdefault(row.get("patient"), []).append(row)
        self._used: set[int] = set()
        self._dates: dict[int, set[str]] = {}

    def find(self, patient: str, side: str, date: str) -> TableRow | None:
        """The row of a knee: same patient, and side and date where the row and the header have them.

        Raises:
            ValueError: several rows that differ, or one for the other side only.
        """
        same = [row for row in self._of(patient) if _fits(date, _date(row.get("date")))]
        fitting = [row for row in same if _fits(side, row.side)]
        self._used |= {row.number for row in fitting}
        for row in fitting:
            if not row.get("date"):
                self._dates.setdefault(row.number, set()).add(date)
        known = {(row.side, row.kl, row.oa, row.split, row.get("subject")) for row in fitting}
        if len(known) > 1:
            numbers = ", ".join(str(row.number) for row in fitting)
            raise ValueError(
                f"rows {numbers} of {self.name} fit this series and differ; give the table columns for side "
                "and date (--columns side=...,date=...)"
            )
        return fitting[0] if fitting else None

    def contradiction(self, patient: str, side: str, date: str) -> str:
        """A row for the other side that no series has, empty if there is none."""
        for row in self._of(patient):
            free = row.number not in self._used and _fits(date, _date(row.get("date")))
            if free and side and row.side:
                self._used.add(row.number)
                return (
                    f"side: row {row.number} of {self.name} says {row.side}, the image's header says {side}"
                )
        return ""

    def subject(self, patient: str) -> str:
        """The name that is written for a patient, empty if the table has such names but none for this one."""
        if not self.coded:
            return patient
        return next((row.get("subject") for row in self._of(patient)), "")

    def shared(self) -> int:
        """Number of rows without a date that were used for series of several dates."""
        return sum(len(dates) > 1 for dates in self._dates.values())

    def _of(self, patient: str) -> list[TableRow]:
        return self._rows.get(patient, [])

    def unused(self) -> list[LeftOut]:
        """Rows that no series was found for."""
        return [
            LeftOut(
                f"{self.name} row {row.number}", "", row.get("subject"), "no series of this knee was found"
            )
            for row in self.rows
            if row.number not in self._used
        ]


def read_labels(
    path: Path,
    columns: Mapping[str, str],
    values: Mapping[str, str],
    covariates: str,
    sheet: str | None,
    separator: str | None,
    patients: Iterable[str],
) -> tuple[DicomLabels, list[LeftOut]]:
    """Read the table, and leave out rows that cannot be used.

    Args:
        path: of the table.
        columns: names of the table's columns; ``patient`` and ``date`` are for joining only.
        values: mapping of codes to values.
        covariates: further columns to keep.
        sheet: of a workbook.
        separator: of a text table.
        patients: as the DICOM headers write them, to restore zeros that a spreadsheet removed.

    Raises:
        ValueError: the table is damaged, has no column with the patient, or no grade that can be read.
        OSError: it cannot be read.
    """
    table = read_table(path, sheet=sheet, separator=separator)
    given = dict(columns)
    if "patient" not in given:
        names = {str(name).lower(): str(name) for name in table.cells}
        found = [names[name] for name in _PATIENT if name in names]
        if not found:
            raise ValueError(
                f"{path}: expected a column with the patient as DICOM headers write it (--columns "
                f"patient=...), got {', '.join(names.values())}"
            )
        given["patient"] = given.get("subject", found[0])
    coded = given.get("subject", given["patient"]) != given["patient"]
    named = table_columns(table, {"subject": given["patient"]} | given, covariates)
    named = replace(named, covariates=tuple(n for n in named.covariates if n not in ("patient", "date")))
    rows = table_rows(table, named, values)
    check_grades(rows, lambda row: f"{table.path}, row {row.number}")
    notes = [*table.notes, *_restore(path.name, rows, patients)]
    good, left_out = [], []
    for row in rows:
        try:
            row.check()
            _ = row.side, row.split, _date(row.get("date"))
            good.append(row)
        except ValueError as error:
            who = row.get("subject")
            left_out.append(LeftOut(f"{path.name} row {row.number}", "", who, str(error)))
    return DicomLabels(path.name, good, coded, notes), left_out


def _restore(name: str, rows: list[TableRow], patients: Iterable[str]) -> list[str]:
    """Put leading zeros back; the note quotes no id, as the table may have other names to be written."""
    ids = [row.get("patient") for row in rows if row.get("patient")]
    restored, _ = restore_zeros(ids, patients)
    for row in rows:
        if row.get("patient"):
            row.set("patient", restored[row.get("patient")])
    count = sum(text != whole for text, whole in restored.items())
    return [f"{count} patients of {name} had lost leading zeros, which were put back"] if count else []


def _fits(one: str, other: str) -> bool:
    """True unless both are known and differ."""
    return not one or not other or one == other


def _date(text: str) -> str:
    """``YYYYMMDD`` of a cell, empty if the cell is.

    Raises:
        ValueError: a date whose day and month cannot be told apart, or none.

    >>> _date("2004-09-23"), _date("23.09.2004"), _date("20040923")
    ('20040923', '20040923', '20040923')
    """
    text = text.strip().removesuffix(" 00:00:00")
    if not text:
        return ""
    if match := re.fullmatch(r"(\d{4})[-/]?(\d{2})[-/]?(\d{2})", text):
        return match[1] + match[2] + match[3]
    if match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text):
        return f"{match[3]}{int(match[2]):02d}{int(match[1]):02d}"
    raise ValueError(
        f"date: expected 2004-09-23, 20040923 or 23.09.2004, got a cell of the form {_form(text)!r}"
    )


def _form(text: str) -> str:
    """Digits as 0 and letters as a, as dates and names may have to stay unsaid.

    >>> _form("1/2/24, Erika")
    '0/0/00, aaaaa'
    """
    return "".join("0" if one.isdigit() else "a" if one.isalpha() else one for one in text)
