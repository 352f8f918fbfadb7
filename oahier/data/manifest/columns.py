"""The columns of a manifest: from cells as written to checked values, with every problem listed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

import pandas as pd
import torch

from oahier.files import BLANK, EMPTY_CELL
from oahier.hierarchy import DEFAULT_HIERARCHY, contradicts, oa_from_kl
from oahier.problems import Problem
from oahier.types import MISSING, Split

LEVELS = {name: DEFAULT_HIERARCHY.num_classes(name) for name in reversed(DEFAULT_HIERARCHY.levels)}
"""Columns of the label hierarchy, coarse to fine, and their numbers of classes."""
REQUIRED = ("knee", "subject", "mri")
COLUMNS = ("knee", "subject", "side", "visit", "mri", "cartilage", "kl", "oa", "split")
PROVENANCE = ("source", "source_hash", "licence", "image_notes")
"""Last columns of an imported manifest: where each file came from; the notes only where there are any."""
SPLITS: tuple[Split, ...] = get_args(Split)
SIDES = ("left", "right")
UNFIT = frozenset('/\\:*?"<>|')
"""Characters that some file system does not let into a name."""
LONGEST_NAME = 120
"""Bytes of a knee's name; file systems allow 255, of which endings take some."""


def row_number(index: object) -> int:
    """Spreadsheet row of a table index: the header is row 1."""
    return int(str(index)) + 2


def check_table(cells: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Turn a table of strings into the manifest's table.

    Args:
        cells: one row per knee, every cell a string; the index is kept.
        root: folder that relative paths start from.

    Returns:
        the table, which is complete only if there are no problems of severity ``"error"``, and the problems.
    """
    problems = list(_header_problems([str(name) for name in cells.columns]))
    if problems:
        return cells, problems
    cells = cells.map(str.strip)
    cells = cells[~cells.map(lambda cell: cell.lower() in BLANK).all(axis=1)]
    if cells.empty:
        return cells, [Problem("expected at least one knee, got a header without rows")]
    table = pd.DataFrame(index=cells.index)
    for name in COLUMNS:
        table[name] = cells[name].mask(_is_blank(cells[name]), "") if name in cells else ""
    problems += [*_id_problems(table), *_twin_problems(table)]
    problems += _choice_problems(table, "side", SIDES)
    problems += _choice_problems(table, "split", SPLITS)
    for name, classes in LEVELS.items():
        table[name], found = parse_classes(table[name], table["knee"], name, classes)
        problems += found
    table["oa"], found = _complete_oa(table)
    problems += [*found, *_file_problems(table, root), *_split_problems(table)]
    covariates = {name: _covariate(cells[name]) for name in cells if name not in COLUMNS}
    return pd.concat([table, pd.DataFrame(covariates, index=table.index)], axis=1), problems


def parse_classes(
    cells: pd.Series, knees: pd.Series, name: str, classes: int | None
) -> tuple[pd.Series, list[Problem]]:
    """Whole numbers ``0 .. classes - 1``; blank is ``MISSING``; "2.0" counts as 2.

    Anything else is an error: "KL2", "2.5", "0_1", and digits of other scripts.
    """
    values, problems = [], []
    expected = f"a whole number 0-{classes - 1}" if classes else "a whole number from 0 on"
    for index, knee, cell in zip(cells.index, knees, cells, strict=True):
        value = _whole_number(str(cell).strip())
        if value is None or (classes and value >= classes):
            message = f"expected {expected}, or an empty cell where it is unknown, got {str(cell)!r}"
            problems.append(Problem(message, row_number(index), str(knee), name))
            value = MISSING
        values.append(value)
    return pd.Series(values, index=cells.index, dtype="int64"), problems


def _whole_number(cell: str) -> int | None:
    """The number in a cell, ``MISSING`` if blank, ``None`` if it is anything else (a written -1 too)."""
    if cell.lower() in BLANK:
        return MISSING
    whole = re.fullmatch(r"([0-9]{1,18})(\.0*)?", cell)
    return int(whole[1]) if whole else None


def _is_blank(cells: pd.Series) -> pd.Series:
    return cells.str.strip().str.lower().isin(BLANK)


def _header_problems(names: list[str]) -> Iterator[Problem]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(f"column {name!r} stands {names.count(name)} times in the header; keep one")
    for name in names:
        if name not in COLUMNS and name.strip().lower() in COLUMNS:
            yield Problem(f"column {name!r}: write it {name.strip().lower()!r}")
    for name in REQUIRED:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" (is it {near[0]!r}?)" if near else ""
            yield Problem(
                f"missing column {name!r}{hint}; expected {', '.join(REQUIRED)}, got {', '.join(names)}"
            )


def _id_problems(table: pd.DataFrame) -> Iterator[Problem]:
    for name in REQUIRED:
        for index in table.index[table[name] == ""]:
            knee = str(table.at[index, "knee"]) or None
            yield Problem(f"expected a {name}, got {EMPTY_CELL}", row_number(index), knee, name)
    for index, knee in table["knee"].items():
        if set(str(knee)) & UNFIT or not str(knee).isprintable():
            message = "a knee's name becomes a file name: use letters, digits, '-', '_' and '.'"
            yield Problem(message, row_number(index), str(knee), "knee")
        if len(str(knee).encode()) > LONGEST_NAME:
            message = f"a knee's name becomes a file name: use at most {LONGEST_NAME} characters"
            yield Problem(message, row_number(index), f"{str(knee)[:20]}...", "knee")
    named = table[table["knee"] != ""]
    for _, rows in named[named["knee"].duplicated(keep=False)].groupby("knee", sort=False):
        places = ", ".join(str(row_number(index)) for index in rows.index)
        yield Problem(
            f"duplicate knee: the name stands in rows {places}; give every row (side and visit) its own",
            row_number(rows.index[1]), str(rows["knee"].iloc[0]), "knee",
        )  # fmt: skip


def _twin_problems(table: pd.DataFrame) -> Iterator[Problem]:
    """Knees whose names are one file on disks that ignore case or the Unicode form of accents."""
    names = table["knee"].drop_duplicates()
    for _, alike in names[names != ""].groupby(names.map(file_key), sort=False):
        if len(alike) > 1:
            yield Problem(
                f"knees {', '.join(map(repr, alike))} differ only by case or Unicode form, so that their "
                "files are one on some disks; give them names that differ in more",
                row_number(alike.index[1]), str(alike.iloc[1]), "knee", "warning", "files",
            )  # fmt: skip


def file_key(name: str) -> str:
    """The same for names that are one file on some disks: in any case, accents in any form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _choice_problems(table: pd.DataFrame, name: str, choices: tuple[str, ...]) -> list[Problem]:
    table[name] = table[name].str.lower()
    problems = []
    for index, value in table[name].items():
        if value and value not in choices:
            near = get_close_matches(str(value), choices, n=1, cutoff=0.4)
            hint = f" (is it {near[0]!r}?)" if near else ""
            message = f"expected one of {', '.join(choices)}, got {value!r}{hint}"
            problems.append(Problem(message, row_number(index), str(table.at[index, "knee"]), name))
    return problems


def _complete_oa(table: pd.DataFrame) -> tuple[pd.Series, list[Problem]]:
    """OA where it is blank and KL is known, and the knees whose OA is not what KL implies."""
    kl, oa = torch.tensor(table["kl"].to_numpy()), torch.tensor(table["oa"].to_numpy())
    implied = oa_from_kl(kl)
    problems = [
        Problem(
            f"OA {int(oa[i])} contradicts KL {int(kl[i])}, which means {int(implied[i])}; correct one",
            row_number(table.index[i]), str(table["knee"].iloc[i]), "oa",
        )
        for i in torch.nonzero(contradicts(oa, kl)).flatten().tolist()
    ]  # fmt: skip
    completed = torch.where(oa == MISSING, implied, oa).numpy()
    return pd.Series(completed, index=table.index, dtype="int64"), problems


def _file_problems(table: pd.DataFrame, root: Path) -> Iterator[Problem]:
    for name in ("mri", "cartilage"):
        for index, cell in table[name].items():
            if not cell:
                continue
            path = Path(str(cell))
            if not (root / path).exists():
                knee = str(table.at[index, "knee"])
                message = f"missing file {root / path}; paths start from the manifest's folder"
                yield Problem(message, row_number(index), knee, name, kind="files")
        absolute = [str(cell) for cell in table[name] if Path(str(cell)).is_absolute()]
        if absolute:
            message = (
                f"{len(absolute)} absolute paths such as {absolute[0]}: write them relative to the manifest, "
                "so that the folder can move"
            )
            yield Problem(message, column=name, severity="warning", kind="files")
    repeated = table[(table["mri"] != "") & table["mri"].duplicated(keep=False)]
    for _, rows in repeated.groupby("mri", sort=False):
        cell = str(rows["mri"].iloc[0])
        knees = ", ".join(repr(knee) for knee in rows["knee"])
        yield Problem(
            f"knees {knees} share the file {cell}", row_number(rows.index[1]), None, "mri", "warning", "files"
        )


def _split_problems(table: pd.DataFrame) -> Iterator[Problem]:
    given = table["split"] != ""
    if given.any():
        for index in table.index[~given]:
            message = "expected train, val or test as for the other knees, got an empty cell"
            yield Problem(message, row_number(index), str(table.at[index, "knee"]), "split")
    known = table[given & (table["subject"] != "")]
    pairs = known[["subject", "split"]].drop_duplicates()
    torn = pairs.loc[pairs["subject"].duplicated(), "subject"]
    for subject, rows in known[known["subject"].isin(torn)].groupby("subject", sort=False):
        names = list(dict.fromkeys(rows["split"]))
        where = ", ".join(
            f"{split} (row {row_number(rows.index[rows['split'] == split][0])})" for split in names
        )
        message = f"subject {subject!r} is in {len(names)} splits: {where}; keep all its knees in one"
        yield Problem(
            message, row_number(rows.index[-1]), str(rows["knee"].iloc[-1]), "split", kind="leakage"
        )


def _covariate(cells: pd.Series) -> pd.Series:
    """Numbers if every known cell is one and none has a leading zero, which marks an id; else text.

    What stands for a missing value ("NA", ".") becomes an empty cell, and no category of its own.
    """
    cells = cells.mask(_is_blank(cells), "")
    known = cells[cells != ""]
    if known.empty or known.str.match(r"^[+-]?0\d").any():
        return cells
    numbers = pd.to_numeric(known, errors="coerce")
    if numbers.isna().any():
        return cells
    return numbers.reindex(cells.index) if len(known) < len(cells) else numbers
