"""Codes of the Osteoarthritis Initiative for subjects, visits, sides and missing values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from oahier.files import BLANK

VISITS: Mapping[str, str] = {
    "V00": "00m", "V01": "12m", "V02": "18m", "V03": "24m", "V04": "30m", "V05": "36m", "V06": "48m",
    "V08": "72m", "V10": "96m",
}  # fmt: skip
"""Months of each visit with images; in manifests visits have their codes."""

SIDES = ("right", "left")
_SIDES = {"1": "right", "right": "right", "r": "right", "2": "left", "left": "left", "l": "left"}
_MONTHS = {months.removesuffix("m").lstrip("0"): code for code, months in VISITS.items()}


def visit_code(text: str) -> str:
    """The code of a visit: ``V03`` for "V03", "v03", "24m", "24 months"; "V00" for "baseline".

    Raises:
        ValueError: no visit of the study.

    >>> visit_code("00m"), visit_code("24 month"), visit_code("v10")
    ('V00', 'V03', 'V10')
    """
    words = text.strip().lower()
    code = words.upper()
    if match := re.fullmatch(r"(\d{1,2})[ -]?m(onths?)?(\W.*)?", words):
        code = _MONTHS.get(match[1].lstrip("0"), "")
    elif words == "baseline":
        code = "V00"
    if code not in VISITS:
        known = ", ".join(f"{name} ({months})" for name, months in VISITS.items())
        raise ValueError(f"expected one of the visits {known}, got {text!r}")
    return code


def visit_of_path(parts: Sequence[str]) -> str:
    """The visit that folders tell: ``00m``, else the first number of a release such as ``0.C.2``; or ``""``.

    >>> visit_of_path(["results", "12m", "1.C.2", "9000099"]), visit_of_path(["10.E.1", "9000099"])
    ('V01', 'V10')
    """
    for part in reversed(parts):
        if re.fullmatch(r"\d\dm", part.lower()) and part.lower() in VISITS.values():
            return visit_code(part)
    for part in reversed(parts):
        if (match := re.fullmatch(r"(\d{1,2})\.[A-Z]\.\d", part.upper())) and f"V{match[1]:0>2}" in VISITS:
            return f"V{match[1]:0>2}"
    return ""


def visit_list(option: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Codes of the visits that an option names; all of them for ``"all"``.

    Raises:
        ValueError: an unknown visit.
    """
    names = given.split(",") if isinstance(given, str) else list(given)
    if [name.strip().lower() for name in names] == ["all"]:
        return tuple(VISITS)
    try:
        return tuple(dict.fromkeys(visit_code(name) for name in names))
    except ValueError as error:
        raise ValueError(f"{option}: {error}, or all") from error


def side_list(option: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Sides that an option names; both for ``"both"``.

    Raises:
        ValueError: something else than right and left.
    """
    names = given.split(",") if isinstance(given, str) else list(given)
    if [name.strip().lower() for name in names] == ["both"]:
        return SIDES
    sides = tuple(dict.fromkeys(name.strip().lower() for name in names))
    if not sides or set(sides) - set(SIDES):
        raise ValueError(
            f"{option}: expected right, left or both, got {','.join(names)!r}; or a list as .csv"
        )
    return sides


def code_of(cell: str) -> str:
    """The code in a cell such as ``"1: Right"`` or ``"2.0"``, without its meaning."""
    return cell.partition(":")[0].strip().removesuffix(".0")


def is_missing(cell: str) -> bool:
    """True for an empty cell and for OAI's codes: ".", ".P", ".T", ".A: Not Expected", ".: Missing ..."."""
    return cell.strip().lower() in BLANK or cell.strip().startswith(".")


def side_of(cell: str) -> str:
    """``"right"``, ``"left"``, or ``""`` for anything else.

    >>> side_of("1: Right"), side_of("2"), side_of("L"), side_of("3: Both")
    ('right', 'left', 'left', '')
    """
    return _SIDES.get(code_of(cell).lower(), "")


def subject_of(cell: str) -> str:
    """An id of seven digits, its leading zeros restored; ``""`` for anything else.

    >>> subject_of("9000099.0"), subject_of("71"), subject_of("The NDAR Global Unique Identifier")
    ('9000099', '0000071', '')
    """
    text = code_of(cell)
    return text.zfill(7) if text.isdecimal() and len(text) <= 7 else ""


def tables_in(option: str, given: str | Path | Sequence[str | Path], pattern: str) -> list[Path]:
    """The tables that an option names: files, and in folders all whose name matches ``pattern``.

    Where a folder holds a table as text and as a SAS data set, the text is taken.

    Raises:
        OSError: no such file or folder.
        ValueError: a folder without such a table.
    """
    names = given.split(",") if isinstance(given, str) else [given] if isinstance(given, Path) else given
    found: list[Path] = []
    for path in (Path(str(name).strip()) for name in names if str(name).strip()):
        if not path.exists():
            raise OSError(2, f"{option}: cannot read {path}: no such file or folder")
        if not path.is_dir():
            found.append(path)
            continue
        inside = tables_of_folder(path, pattern)
        if not inside:
            raise ValueError(f"{option}: expected tables named as {pattern} in {path}, found none")
        found += inside
    return found


def tables_of_folder(folder: Path, pattern: str) -> list[Path]:
    """Tables of a folder and the folders in it, by name; text before SAS."""
    wanted = re.compile(rf"{pattern}\.(txt|csv|sas7bdat|xpt)", re.IGNORECASE)
    chosen: dict[str, Path] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if wanted.fullmatch(path.name) and path.is_file():
            stem = path.stem.lower()
            if stem not in chosen or path.suffix.lower() in (".txt", ".csv"):
                chosen[stem] = path
    return [chosen[stem] for stem in sorted(chosen)]
