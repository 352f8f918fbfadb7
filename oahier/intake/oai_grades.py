"""KL grades of the Osteoarthritis Initiative: central readings of radiographs, in all forms they come in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oahier.intake.oai_codes import (
    code_of,
    is_missing,
    side_of,
    subject_of,
    tables_in,
    visit_code,
)
from oahier.intake.spreadsheets import LabelTable, parse_grade, read_table

TABLES = r"(kxr_sq_bu\d*|oai_kxrsemiquant01).*"
"""Names of the tables, in any case."""

PROJECTS = ("15", "37", "42")
"""Reading projects in the order in which their grades are taken; others come after, by number."""

_SHOWN = 6
"""Unknown visits that a note names."""

Knee = tuple[str, str, str]
"""Subject, side and visit."""


@dataclass(frozen=True)
class Readings:
    """Grades of knees at visits.

    Args:
        grades: by subject, side and visit.
        unknown: why a knee that is in the tables has no grade.
        notes: what the reader had to decide.
    """

    grades: Mapping[Knee, int]
    unknown: Mapping[Knee, str]
    notes: tuple[str, ...]

    def get(self, subject: str, side: str, visit: str) -> tuple[int | None, str]:
        """The grade, and if it is unknown the reason."""
        knee = subject, side, visit
        grade = self.grades.get(knee)
        return grade, "" if grade is not None else self.unknown.get(knee, "no row in the tables")


@dataclass(frozen=True)
class _Row:
    knee: Knee
    project: str
    cell: str
    where: str

    @property
    def grade(self) -> int | None:
        """The grade, ``None`` for codes of missing values and for anything else than 0-4."""
        if is_missing(self.cell):
            return None
        try:
            return parse_grade(code_of(self.cell))
        except ValueError:
            return None


def read_grades(tables: str | Path | Sequence[str | Path]) -> Readings:
    """Read KL grades from tables of the OAI.

    Understood are ``kxr_sq_bu00.txt`` and its like of every visit (columns ``ID``, ``SIDE``, ``READPRJ``,
    ``V00XRKL``; separated by vertical bars), the same as SAS data sets, and NDA's ``oai_kxrsemiquant01.txt``
    (tab-separated, a second line of descriptions, columns ``src_subject_id``, ``visit``, ``readprj``,
    ``side``, ``xrkl``). Cells may be ``2`` or ``2: 2``; cells that start with a point are missing.

    Many knees were read in several projects: the first with a grade is taken, of 15, 37, 42, then the
    others. A knee with two different grades within that project gets none. Rows of a visit that is not known
    are passed over, which is noted, if the table has others.

    Args:
        tables: files, or folders in which such tables lie; as text with commas between them.

    Raises:
        OSError: a table cannot be read.
        ValueError: it is damaged, or no such table.
        ImportError: a SAS data set without pyreadstat.
    """
    rows: list[_Row] = []
    notes: list[str] = []
    for path in tables_in("grades", tables, TABLES):
        table = read_table(path)
        found, strange = _rows(table)
        notes += [*table.notes, *strange]
        if all(row.grade is None for row in found):
            raise ValueError(f"{path}: expected KL grades 0-4, found none in {len(found)} rows")
        rows += found
    return _chosen(rows, notes)


@dataclass(frozen=True)
class _Columns:
    """Columns of a table of readings; ``grades`` by visit, the visit being empty where a column holds it."""

    subject: str
    side: str
    project: str
    visit: str
    grades: Mapping[str, str]


def _columns(table: LabelTable) -> _Columns:
    found = [re.fullmatch(r"(v\d\d)?xrkl", str(name), re.IGNORECASE) for name in table.cells]
    grades = {(match[1] or "").upper(): match[0] for match in found if match}
    if not grades:
        names = ", ".join(map(str, table.cells))
        raise ValueError(
            f"{table.path}: expected a column such as V00XRKL (or xrkl, with visit), got {names}"
        )
    subject = table.column("id", "src_subject_id", required=False) or table.column("id", "subjectkey")
    project = table.column("readprj", required=False) or ""
    visit = table.column("visit") if "" in grades else ""
    return _Columns(subject or "", table.column("side") or "", project, visit or "", grades)


def _rows(table: LabelTable) -> tuple[list[_Row], list[str]]:
    """Readings of known visits, and a note of rows that are of others."""
    columns = _columns(table)
    found: list[_Row] = []
    unknown: dict[str, list[int]] = {}
    for place, (number, cells) in enumerate(table.rows()):
        subject, side = subject_of(cells[columns.subject]), side_of(cells[columns.side])
        where = f"{table.path.name} row {number}"
        if not subject and place == 0:  # NDA's second line describes the columns
            continue
        if not subject:
            raise ValueError(f"{where}: expected an id of seven digits, got {cells[columns.subject]!r}")
        if not side:
            raise ValueError(f"{where}: expected the side 1: Right or 2: Left, got {cells[columns.side]!r}")
        project = code_of(cells.get(columns.project, ""))
        for visit, column in columns.grades.items():
            code = visit or _visit(cells[columns.visit])
            if code:
                found.append(_Row((subject, side, code), project, cells[column], where))
            else:
                unknown.setdefault(cells[columns.visit], []).append(number)
    if unknown and not found:
        _refuse_visit(table, unknown)
    return found, _passed_over(table, unknown, len(found))


def _visit(cell: str) -> str:
    """The code of a visit, empty if it is none of the study's."""
    try:
        return visit_code(code_of(cell))
    except ValueError:
        return ""


def _refuse_visit(table: LabelTable, unknown: Mapping[str, Sequence[int]]) -> None:
    text, (number, *_) = next(iter(unknown.items()))
    try:
        visit_code(code_of(text))
    except ValueError as error:
        raise ValueError(f"{table.path.name} row {number}: {error}") from error


def _passed_over(table: LabelTable, unknown: Mapping[str, Sequence[int]], known: int) -> list[str]:
    """Note on rows of unknown visits: their number, cells and first rows."""
    if not unknown:
        return []
    count = sum(map(len, unknown.values()))
    texts = sorted(unknown, key=lambda text: (-len(unknown[text]), text))
    shown = [f"{text!r} ({len(unknown[text])}, first in row {unknown[text][0]})" for text in texts[:_SHOWN]]
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return [
        f"{table.path.name}: {count} of {known + count} rows are of no visit that is known and were passed "
        f"over: {', '.join(shown)}{more}"
    ]


def _chosen(rows: Sequence[_Row], notes: Sequence[str]) -> Readings:
    groups: dict[Knee, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.knee, []).append(row)
    grades: dict[Knee, int] = {}
    unknown: dict[Knee, str] = {}
    conflicts: list[str] = []
    for knee, group in groups.items():
        read = [row for row in group if row.grade is not None]
        project = min((row.project for row in read), key=_order, default="")
        first = [row for row in read if row.project == project]
        found = sorted({row.grade for row in first if row.grade is not None})
        if len(found) == 1:
            grades[knee] = found[0]
        elif not found:
            unknown[knee] = _why(group)
        else:
            unknown[knee] = f"read as {' and '.join(map(str, found))} in project {project or 'unknown'}"
            places = ", ".join(row.where for row in first)
            conflicts.append(f"{' '.join(knee)} has no grade: {unknown[knee]} ({places})")
    return Readings(grades, unknown, (*notes, *_projects(groups), *conflicts))


def _projects(groups: Mapping[Knee, Sequence[_Row]]) -> list[str]:
    """Note on knees that were read in several projects."""
    several = [
        {row.grade for row in group} - {None}
        for group in groups.values()
        if len({row.project for row in group if row.grade is not None}) > 1
    ]
    if not several:
        return []
    differing = sum(len(found) > 1 for found in several)
    return [
        f"{len(several)} knees were read in several projects, {differing} of them with different grades; "
        f"{', then '.join(PROJECTS)} is taken"
    ]


def _order(project: str) -> tuple[int, int, str]:
    place = PROJECTS.index(project) if project in PROJECTS else len(PROJECTS)
    return place, int(project) if project.isdecimal() else 1 << 30, project


def _why(group: Sequence[_Row]) -> str:
    strange = [row for row in group if not is_missing(row.cell)]
    if strange:
        return f"expected 0-4, got {strange[0].cell!r} ({strange[0].where})"
    codes = dict.fromkeys(code_of(row.cell) or "empty" for row in group)
    return f"missing in the tables ({', '.join(codes)})"
