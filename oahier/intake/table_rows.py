"""Rows of a table under the names of a manifest's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from oahier.data.manifest.columns import COLUMNS, PROVENANCE, SPLITS
from oahier.files import BLANK, EMPTY_CELL
from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.intake.spreadsheets import LabelTable, parse_grade

_COARSE_OF_GRADE = DEFAULT_HIERARCHY.parents(FINE, COARSE)
SIDE_WORDS = {"left": "left", "l": "left", "right": "right", "r": "right"}
"""Words for a side, in lower case."""


@dataclass(frozen=True)
class TableColumns:
    """Names of the columns of a table.

    Args:
        named: the table's column for a manifest's column or a covariate.
        all: every column of the table.
        covariates: names of the covariates, among those of ``named``.
    """

    named: dict[str, str]
    all: tuple[str, ...]
    covariates: tuple[str, ...]

    def check(self, name: str, what: str) -> None:
        """Refuse a placeholder that names no column of the table or the manifest."""
        if name not in self.all and name not in self.named:
            raise ValueError(f"{what}: no column {name!r}; the columns are {', '.join(self.all)}")


@dataclass(frozen=True)
class TableRow:
    """One row; cells by the names of the table and of the manifest, with codes replaced by their values."""

    number: int
    cells: dict[str, str]
    columns: TableColumns

    def get(self, name: str) -> str:
        """A cell, empty if it is blank or there is no such column."""
        return self.cells.get(name, "")

    def set(self, column: str, text: str) -> None:
        """Correct a cell, under all its names."""
        origin = self.columns.named.get(column, column)
        for name in (origin, *(ours for ours, theirs in self.columns.named.items() if theirs == origin)):
            self.cells[name] = text

    @property
    def knee(self) -> str:
        """The knee's name: its own, or what is known of subject, side and visit."""
        parts = (self.get("subject"), SIDE_WORDS.get(self.get("side").lower(), ""), self.get("visit"))
        return self.get("knee") or "-".join(part for part in parts if part)

    @property
    def side(self) -> str:
        """``left``, ``right`` or empty."""
        cell = self.get("side")
        if cell and cell.lower() not in SIDE_WORDS:
            raise ValueError(
                f"side: expected left or right, got {cell!r}; map it: --values side.{cell}=right"
            )
        return SIDE_WORDS.get(cell.lower(), "")

    @property
    def kl(self) -> int | None:
        """The grade, ``None`` if unknown."""
        try:
            return parse_grade(self.get("kl"))
        except ValueError as error:
            raise ValueError(f"column {self.columns.named['kl']!r}: {error}") from error

    @property
    def oa(self) -> int | None:
        """0 or 1, ``None`` if unknown."""
        cell = self.get("oa").removesuffix(".0")
        if cell not in ("", "0", "1"):
            raise ValueError(
                f"column {self.columns.named['oa']!r}: expected 0, 1 or an empty cell, got {cell!r}"
            )
        return int(cell) if cell else None

    @property
    def split(self) -> str:
        """``train``, ``val``, ``test`` or empty."""
        cell = self.get("split").lower()
        if cell not in ("", *SPLITS):
            raise ValueError(
                f"split: expected one of {', '.join(SPLITS)}, got {cell!r}; map it: "
                f"--values split.{cell}=train"
            )
        return cell

    @property
    def covariates(self) -> dict[str, str]:
        """Further columns."""
        return {name: self.get(name) for name in self.columns.covariates}

    def check(self) -> None:
        """Refuse a row that cannot become a knee.

        Raises:
            ValueError: says what is missing or wrong.
        """
        if not self.get("subject"):
            raise ValueError(
                f"column {self.columns.named['subject']!r}: expected a subject, got {EMPTY_CELL}"
            )
        kl, oa = self.kl, self.oa
        if kl is not None and oa is not None and oa != (implied := _COARSE_OF_GRADE[kl]):
            raise ValueError(f"OA {oa} contradicts KL {kl}, which means {implied}")


Row = TypeVar("Row", bound=TableRow)


def table_columns(table: LabelTable, given: Mapping[str, str], covariates: str) -> TableColumns:
    """Names of the columns: as given, else the manifest's own.

    Raises:
        ValueError: a column that does not exist, a missing subject, or unknown covariates.
    """
    names = tuple(str(name) for name in table.cells)
    named: dict[str, str] = {}
    for ours, theirs in given.items():
        named[ours] = table.column(theirs) or theirs
    for ours in COLUMNS:
        if ours not in named and (same := [name for name in names if name.lower() == ours]):
            named[ours] = same[0]
    if "subject" not in named:
        raise ValueError(
            f"{table.path}: expected a column with the subject (--columns subject=...), got "
            f"{', '.join(names)}; knees of one person must stay in one split, so it cannot be guessed"
        )
    others = [ours for ours in named if ours not in COLUMNS]
    if taken := [name for name in others if name.lower() in PROVENANCE]:
        raise ValueError(f"--columns: {taken[0]!r} is written by the import; give the covariate another name")
    free = [
        name for name in names if name not in {*named.values(), *others} and name.lower() not in PROVENANCE
    ]
    if covariates not in ("all", "none"):
        free = [table.column(name.strip()) or name for name in covariates.split(",") if name.strip()]
    chosen = () if covariates == "none" else tuple(free)
    return TableColumns(named | {name: name for name in chosen}, names, (*others, *chosen))


def table_rows(table: LabelTable, columns: TableColumns, values: Mapping[str, str]) -> list[TableRow]:
    """All rows, blank cells empty, codes replaced.

    Raises:
        ValueError: a code of a column that does not exist.
    """
    codes: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        column, dot, code = key.partition(".")
        columns.check(column, f"values {key}={value}")
        if not dot:
            raise ValueError(f"values: expected column.code=meaning, got {key}={value}")
        codes.setdefault(columns.named.get(column, column), {})[code] = value
    rows = []
    for number, found in table.rows():
        cells = {name: meaning(cell, codes.get(name, {})) for name, cell in found.items()}
        cells |= {ours: cells[theirs] for ours, theirs in columns.named.items()}
        rows.append(TableRow(number, cells, columns))
    return rows


def meaning(cell: str, codes: Mapping[str, str]) -> str:
    """A cell with its code replaced, empty if it is blank."""
    cell = "" if cell.lower() in BLANK else cell
    return codes.get(cell, codes.get(cell.removesuffix(".0"), cell))


def check_grades(
    rows: Sequence[Row], place: Callable[[Row], str], advice: str = "; map them: --values kl.CODE=GRADE"
) -> None:
    """Refuse rows none of whose grades can be read: the column holds something else.

    Raises:
        ValueError: names the first row.
    """
    known = [row for row in rows if row.get("kl")]
    problems = []
    for row in known:
        try:
            _ = row.kl
        except ValueError as error:
            problems.append(f"{place(row)}, {error}")
    if problems and len(problems) == len(known):
        raise ValueError(f"{problems[0]}, and none of {len(known)} grades can be read{advice}")
