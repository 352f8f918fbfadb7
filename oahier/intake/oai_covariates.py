"""Sex, age, body mass index and more of the participants of the Osteoarthritis Initiative."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oahier.intake.oai_codes import code_of, is_missing, subject_of, tables_in
from oahier.intake.spreadsheets import LabelTable, read_table

TABLES = r"(enrollees|allclinical\d\d|subjectchar\d\d|oai_enrollee01).*"
"""Names of the tables, in any case."""

_SEXES = {"1": "M", "2": "F", "m": "M", "f": "F"}

_COLUMNS = {"p02sex": ("sex", ""), "sex": ("sex", ""), "v00site": ("site", ""), "p01bmi": ("bmi", "V00")}
"""Name of a column of the study in lower case: covariate, and the visit that it belongs to ("" for all)."""


@dataclass(frozen=True)
class Covariates:
    """Covariates of subjects, some of one visit only.

    Args:
        values: cell by subject, visit ("" where it holds for all) and name.
        names: of all covariates, in order.
    """

    values: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def get(self, subject: str, visit: str) -> dict[str, str]:
        """A cell for each name, empty if unknown at that visit."""
        return {
            name: self.values.get((subject, visit, name), self.values.get((subject, "", name), ""))
            for name in self.names
        }


def read_covariates(tables: str | Path | Sequence[str | Path]) -> Covariates:
    """Read ``sex`` (M, F), ``site``, and of each visit ``age`` in years and ``bmi`` in kg/m^2.

    They stand in ``enrollees`` (``P02SEX``, ``V00SITE``), ``subjectchar00`` and ``allclinical00`` and its
    like (``V00AGE``, ``P01BMI`` at baseline, ``V01BMI`` after a year). Age and body mass index are those of
    the visit: without that visit's table they stay empty.

    Args:
        tables: files, or folders in which such tables lie; as text with commas between them.

    Raises:
        OSError: a table cannot be read.
        ValueError: it is damaged, holds none of these columns, or is contradicted by another.
        ImportError: a SAS data set without pyreadstat.
    """
    values: dict[tuple[str, str, str], str] = {}
    for path in tables_in("covariates", tables, TABLES):
        _add(values, read_table(path))
    order = ("sex", "age", "bmi", "site")
    return Covariates(values, tuple(name for name in order if any(key[2] == name for key in values)))


def _add(values: dict[tuple[str, str, str], str], table: LabelTable) -> None:
    subject = table.column("id", "src_subject_id", required=False) or table.column("subjectkey")
    chosen = {name: found for name in map(str, table.cells) if (found := _covariate(name.lower()))}
    if not chosen:
        raise ValueError(
            f"{table.path}: expected one of the columns P02SEX, V00AGE, P01BMI, V00SITE, got "
            f"{', '.join(map(str, table.cells))}"
        )
    for number, cells in table.rows():
        who = subject_of(cells[subject or ""])
        for column, (name, visit) in chosen.items():
            if not who or is_missing(cells[column]):
                continue
            cell = code_of(cells[column])
            cell = _SEXES.get(cell.lower(), "") if name == "sex" else cell
            if values.setdefault((who, visit, name), cell) != cell:
                raise ValueError(
                    f"{table.path}, row {number}: {name} of {who} is {cell!r}, elsewhere "
                    f"{values[who, visit, name]!r}; give one of the tables"
                )


def _covariate(column: str) -> tuple[str, str] | None:
    if column in _COLUMNS:
        return _COLUMNS[column]
    match = re.fullmatch(r"(v\d\d)(age|bmi)", column)
    return (match[2], match[1].upper()) if match else None
