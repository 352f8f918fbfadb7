"""Rows of the tables of OAIZIB-CM, and the knees that they describe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oahier.intake.candidate import Candidate, LeftOut
from oahier.intake.source_files import SourceFiles
from oahier.intake.spreadsheets import LabelTable, read_table
from oahier.intake.table_rows import TableColumns, TableRow, check_grades, table_rows

_TABLE = re.compile(r"subinfo_(train|test)\.(xlsx|csv)")
_CASE = re.compile(r"(?:oaizib_)?0*(\d+)(?:_0000)?(?:\.nii(?:\.gz)?)?", re.IGNORECASE)
_CODES = {"side.1": "right", "side.2": "left", "sex.1": "M", "sex.2": "F", "sex.m": "M", "sex.f": "F"}
_BARCODE = 12
"""Digits of an MR barcode, the first of which is 0."""


@dataclass(frozen=True)
class Row(TableRow):
    """One row of a table, with the table and its split."""

    table: str
    split_of_table: str

    @property
    def place(self) -> str:
        """Table and row number in words."""
        return f"{self.table} row {self.number}"

    @property
    def case(self) -> int | None:
        """Number of the case, ``None`` if the CMT-ID is of another form."""
        match = _CASE.fullmatch(self.get("case"))
        return int(match[1]) if match else None


def knee_name(case: int) -> str:
    """The name of a case, ``oaizib_001`` for 1."""
    return f"oaizib_{case:03d}"


def read_rows(files: SourceFiles, notes: list[str]) -> Iterator[Row]:
    """Rows of both tables; of several for one split the first in ``info`` is read, Excel before CSV."""
    tables: dict[str, list[str]] = {}
    for name in files.names:
        match = _TABLE.fullmatch(name.split("/")[-1].lower())
        if match:
            tables.setdefault(match[1], []).append(name)
    if not tables:
        raise ValueError(
            f"{files.source}: expected the tables info/subInfo_train.xlsx and subInfo_test.xlsx (or .csv), "
            "found neither"
        )
    for split in ("train", "test"):
        names = sorted(
            tables.get(split, []), key=lambda name: ("/info/" not in f"/{name}", name.endswith("csv"))
        )
        if not names:
            notes.append(f"there is no table subInfo_{split}; its knees are left out")
            continue
        if len(names) > 1:
            notes.append(f"{names[0]} is read, {', '.join(names[1:])} not")
        table = read_table(files.path(names[0]), content=files.read(names[0]))
        notes += table.notes
        columns = _columns(table)
        codes = {code: value for code, value in _CODES.items() if code.partition(".")[0] in columns.named}
        for row in table_rows(table, columns, codes):
            yield Row(row.number, row.cells, columns, names[0], split)


def _columns(table: LabelTable) -> TableColumns:
    required = {"subject": "SubjectID", "case": "CMT-ID", "side": "KneeSide", "kl": "KLGrade"}
    others = {"sex": "Gender", "age": "Age", "bmi": "BMI", "mr_barcode": "MRBarCode", "oai_path": "Path"}
    found = {key: table.column(name, name.replace("-", "_")) for key, name in required.items()}
    found |= {key: table.column(name, required=False) for key, name in others.items()}
    named = {key: name for key, name in found.items() if name}
    return TableColumns(named, tuple(map(str, table.cells)), tuple(others))


def candidates_of(
    rows: list[Row], images: Mapping[int, Mapping[str, str]], notes: list[str]
) -> tuple[list[Candidate], list[LeftOut]]:
    """Knees of the tables whose image is where the table says; files are not yet paths."""
    counted = Counter(row.case for row in rows)
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.get("subject"), set()).add(row.split_of_table)
    check_grades(rows, lambda row: row.place, advice="")
    candidates, left_out = [], []
    for row in rows:
        case, subject = row.case, row.get("subject")
        knee = "" if case is None else knee_name(case)
        try:
            if case is None:
                raise ValueError(f"CMT-ID: expected oaizib_ and a number, got {row.get('case')!r}")
            if counted[case] > 1:
                raise ValueError(f"CMT-ID {knee} occurs in {counted[case]} rows; keep one")
            _check_subject(subject, splits[subject])
            if row.split_of_table not in images.get(case, {}):
                raise ValueError(_no_image(knee, row, images.get(case, {})))
            candidates.append(_candidate(knee, row, notes))
        except ValueError as error:
            left_out.append(LeftOut(row.place, knee, subject, str(error)))
    for case, names in sorted(images.items()):
        if case not in counted:
            why = "no row in subInfo_train or subInfo_test has this CMT-ID"
            left_out += [LeftOut(name, knee_name(case), "", why) for name in names.values()]
    return candidates, left_out


def _check_subject(subject: str, splits: set[str]) -> None:
    if not re.fullmatch(r"\d{7}", subject):
        raise ValueError(f"SubjectID: expected the 7 digits of the OAI, got {subject!r}")
    if len(splits) > 1:
        raise ValueError(f"subject {subject} is in both tables; a test subject must not be trained on")


def _no_image(knee: str, row: Row, elsewhere: Mapping[str, str]) -> str:
    if elsewhere:
        return f"the table says {row.split_of_table}, the image is {', '.join(elsewhere.values())}"
    folder = "imagesTr" if row.split_of_table == "train" else "imagesTs"
    return f"there is no image {folder}/{knee}_0000.nii.gz"


def _candidate(knee: str, row: Row, notes: list[str]) -> Candidate:
    try:
        side = row.side
    except ValueError as error:
        cell = row.get("side")
        raise ValueError(f"KneeSide: expected 1 (right) or 2 (left), got {cell!r}") from error
    kl, covariates = row.kl, row.covariates
    if (sex := covariates["sex"]) not in ("", "M", "F"):
        notes.append(f"{row.place}: Gender {sex!r} is neither 1 (M) nor 2 (F), left empty")
        covariates["sex"] = ""
    if re.fullmatch(r"0+(\.0*)?", covariates["bmi"]):  # written where it is missing
        covariates["bmi"] = ""
    covariates["mr_barcode"] = _barcode(covariates["mr_barcode"])
    return Candidate(
        knee, row.get("subject"), side, "V00", Path(), kl=kl, split=row.split_of_table, covariates=covariates
    )


def _barcode(cell: str) -> str:
    """With the leading zero that a spreadsheet may have taken for part of a number."""
    return cell.zfill(_BARCODE) if cell.isdecimal() and len(cell) == _BARCODE - 1 else cell
