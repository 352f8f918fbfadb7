"""Label tables of any kind as text: separated values, Excel workbooks, SAS data sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from oahier.data.manifest.columns import row_number
from oahier.files import BLANK, unmarked

_SEPARATORS = ",;\t|"
_SPELT = {"tab": "\t", "\\t": "\t"}
"""Names for characters that are hard to type in a shell."""
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_GRADES = ("0", "1", "2", "3", "4")


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A table in which every cell is text.

    Args:
        path: the file, for messages.
        cells: stripped text, ``""`` where empty; ``row_number(index)`` is the row of the file, its header
            being row 1.
        notes: what the reader had to decide (an encoding, a sheet).
    """

    path: Path
    cells: pd.DataFrame
    notes: tuple[str, ...] = ()

    def column(self, *names: str, required: bool = True) -> str | None:
        """The name of a column as it is written, found by any of ``names`` in any case.

        Raises:
            ValueError: there is none, or several; names all columns.
        """
        wanted = [name.lower() for name in names]
        found = [str(name) for name in self.cells if str(name).lower() in wanted]
        if len(found) == 1 or (not found and not required):
            return found[0] if found else None
        columns = ", ".join(map(str, self.cells))
        raise ValueError(
            f"{self.path}: expected one column {' or '.join(map(repr, names))}, got {len(found)}; "
            f"its columns are {columns}"
        )

    def rows(self) -> list[tuple[int, dict[str, str]]]:
        """Row numbers of the file, and the cells by column."""
        records = self.cells.to_dict("records")
        return [
            (row_number(index), {str(name): str(cell) for name, cell in record.items()})
            for index, record in zip(self.cells.index, records, strict=True)
        ]


def read_table(
    path: Path | str, *, sheet: str | None = None, separator: str | None = None, content: bytes | None = None
) -> LabelTable:
    r"""Read a table of any kind to text.

    Ids and numbers stay as they are written; a whole number of a workbook or SAS is written without a
    decimal point, a date as ``2004-09-23``. Rows without any cell are passed over.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt`` (the separator is found), ``.xlsx``, ``.xlsm``, ``.sas7bdat`` or
            ``.xpt``.
        sheet: of a workbook; the first one when not given.
        separator: of a text table; found in its first lines when not given.
        content: the bytes of the file where it is not on disk.

    Raises:
        ValueError: damaged, empty, of an unknown kind, or rows that do not fit the header.
        OSError: the file cannot be read.
        ImportError: a SAS file without pyreadstat.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "labels.txt")
    >>> _ = path.write_bytes("ID|SIDE|Größe\n0071|2: Left|1.80\n".encode("cp1252"))
    >>> table = read_table(path)
    >>> table.rows()
    [(2, {'ID': '0071', 'SIDE': '2: Left', 'Größe': '1.80'})]
    >>> table.notes
    ('labels.txt is not UTF-8; read as cp1252',)
    """
    path = Path(path)
    kind = path.suffix.lower()
    if path.is_dir():
        raise ValueError(
            f"{path}: expected a table, got a folder; of a folder of images and a table of grades, "
            "`oahier data import nifti` makes a manifest, of DICOM series `import dicom`"
        )
    if kind in (".xlsx", ".xlsm"):
        from oahier.intake.workbooks import workbook_rows

        rows, notes = workbook_rows(path, _bytes(path, content), sheet)
    elif kind in (".sas7bdat", ".xpt"):
        from oahier.intake.workbooks import sas_rows

        rows, notes = sas_rows(path)
    elif kind == ".xls":
        raise ValueError(f"{path}: the old Excel format .xls is not read; save it as .xlsx or CSV UTF-8")
    elif kind in (".csv", ".tsv", ".txt", ".dat", ".psv"):
        text, notes = _decoded(path, _bytes(path, content))
        rows, notes = _text_rows(path, text, separator), notes
    else:
        raise ValueError(
            f"{path}: unknown kind of table; expected .csv, .tsv, .txt, .xlsx, .xlsm, .sas7bdat or .xpt"
        )
    return LabelTable(path, _frame(path, rows), tuple(notes))


def parse_grade(text: str) -> int | None:
    """A KL grade: 0-4, also as "2.0"; blank cells are unknown.

    Raises:
        ValueError: anything else; "KL2" and "II" may not mean what they seem to.

    >>> parse_grade("2.0"), parse_grade("NA")
    (2, None)
    """
    text = text.strip()
    if text.lower() in BLANK:
        return None
    whole, _, rest = text.partition(".")
    if whole not in _GRADES or rest.strip("0"):
        raise ValueError(f"expected a grade 0-4 as a number, or an empty cell, got {text!r}")
    return int(whole)


def restore_zeros(ids: Iterable[str], known: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Ids whose leading zeros a spreadsheet removed, as they are written in file names.

    Args:
        ids: of a table.
        known: ids found in file names.

    Returns:
        for every id of the table its name among ``known`` (itself, if there is none), and a note.

    Raises:
        ValueError: several known ids, or several ids of the table, are equal but for zeros.

    >>> restore_zeros(["71", "9001"], ["0071", "9001"])
    ({'71': '0071', '9001': '9001'}, ["1 ids had lost leading zeros, '71' is '0071' in file names"])
    """
    ids = list(dict.fromkeys(ids))
    groups: dict[str, list[str]] = {}
    for name in sorted(set(known)):
        if name.isdecimal():
            groups.setdefault(name.lstrip("0"), []).append(name)
    restored = {}
    for text in ids:
        same = groups.get(text.lstrip("0"), []) if text.isdecimal() else []
        if len(same) > 1 and not set(same) <= set(ids):
            raise ValueError(
                f"id {text!r}: leading zeros may be lost, and file names hold {', '.join(map(repr, same))}; "
                "save the ids of the table as text"
            )
        restored[text] = same[0] if len(same) == 1 else text
    _check_unique(restored)
    changed = [text for text in ids if restored[text] != text]
    if not changed:
        return restored, []
    first = changed[0]
    return restored, [
        f"{len(changed)} ids had lost leading zeros, {first!r} is {restored[first]!r} in file names"
    ]


def _check_unique(restored: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for text, name in restored.items():
        if name in seen:
            raise ValueError(
                f"ids {seen[name]!r} and {text!r} of the table would both be {name!r}; write each one way"
            )
        seen[name] = text


def _bytes(path: Path, content: bytes | None) -> bytes:
    if content is not None:
        return content
    try:
        return path.read_bytes()
    except OSError as error:
        raise OSError(error.errno, f"cannot read {path}: {error.strerror}; expected a table") from error


def _decoded(path: Path, content: bytes) -> tuple[str, list[str]]:
    marks = {
        b"\xff\xfe\x00\x00": "utf-32",
        b"\x00\x00\xfe\xff": "utf-32",
        b"\xff\xfe": "utf-16",
        b"\xfe\xff": "utf-16",
    }
    for mark, encoding in marks.items():
        if content.startswith(mark):
            try:
                return content.decode(encoding), []
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is truncated or damaged: it starts as {encoding} text") from error
    if b"\0" in content:
        raise ValueError(f"{path} is not a text table: it holds bytes of value 0; save it as CSV UTF-8")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        pass
    for encoding in ("cp1252", "latin-1"):
        try:
            return content.decode(encoding), [f"{path.name} is not UTF-8; read as {encoding}"]
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")  # pragma: no cover


def _text_rows(path: Path, text: str, separator: str | None) -> list[list[str]]:
    separator = _SPELT.get(separator or "", separator) or _sniffed(text)
    if len(separator) != 1:
        raise ValueError(f"separator: expected one character, or tab, got {separator!r}")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return [list(map(unmarked, row)) for row in reader]
    except csv.Error as error:
        raise ValueError(
            f"{path} is no table separated by {_NAMES.get(separator, separator)}: {error}"
        ) from error


def _sniffed(text: str) -> str:
    """The separator that cuts the first lines into most cells, as many in each line."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]
    best, cells = ",", 1
    for separator in _SEPARATORS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        except csv.Error:
            continue
        even = sum(count == counts[0] for count in counts) if counts else 0
        if counts and counts[0] > cells and even > len(counts) / 2:
            best, cells = separator, counts[0]
    return best


def _frame(path: Path, rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Header and rows as a table of text; the index counts the rows below row 1."""
    first = next((number for number, row in enumerate(rows) if any(cell.strip() for cell in row)), None)
    if first is None:
        raise ValueError(f"{path} is empty; expected a header and a row per knee")
    names = [name.strip() for name in rows[first]]
    while names and not names[-1] and not any(cell.strip() for row in rows for cell in row[len(names) - 1 :]):
        names.pop()
    names = [name or f"column_{number}" for number, name in enumerate(names, start=1)]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise ValueError(f"{path}: column {doubled!r} occurs {names.count(doubled)} times; keep one")
    kept, index = [], []
    for number, row in enumerate(rows[first + 1 :], start=first + 2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise ValueError(
                f"{path}, row {number}: expected {len(names)} cells as in the header, got {len(cells)}"
            )
        kept.append(cells[: len(names)])
        index.append(number - 2)
    return pd.DataFrame(kept, columns=names, index=index, dtype=str)
