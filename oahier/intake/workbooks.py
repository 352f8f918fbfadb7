"""Rows of Excel workbooks and SAS data sets, every cell as text."""

from __future__ import annotations

import datetime
import io
import math
import re
import warnings
from pathlib import Path
from typing import Any

from oahier.zips import check_members

_SAS = 'reading SAS files needs pyreadstat: pip install "oahier[sas]"'


def cell_text(value: Any) -> str:
    """A cell as people read it: 9001234.0 is "9001234", midnight is no time, NaN and #N/A are empty.

    Other errors of a spreadsheet (#REF!) stay, for nobody knows what the value was.

    >>> cell_text(9001234.0), cell_text(27.3), cell_text(datetime.datetime(2004, 9, 23)), cell_text(None)
    ('9001234', '27.3', '2004-09-23', '')
    """
    if value is None or value == "#N/A":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if float(value).is_integer() else format(value, ".15g")
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def workbook_rows(path: Path, content: bytes, sheet: str | None) -> tuple[list[list[str]], list[str]]:
    """All rows of one sheet; of formulas the values that were stored with them.

    Raises:
        ValueError: damaged or protected, no such sheet, a formula without a stored value, or cells that are
            merged over several rows.
    """
    formulas, names, chosen = _load(path, content, sheet, values=False)
    notes = (
        [f"{path.name}: read sheet {chosen!r} of {', '.join(names)}"] if len(names) > 1 and not sheet else []
    )
    places = [
        (i, j)
        for i, row in enumerate(formulas)
        for j, value in enumerate(row)
        if isinstance(value, str) and value.startswith("=") and len(value) > 1
    ]
    if not places:
        return [[cell_text(value) for value in row] for row in formulas], notes
    rows, _, _ = _load(path, content, sheet, values=True)
    for i, j in places:
        if i >= len(rows) or j >= len(rows[i]) or rows[i][j] is None:
            raise ValueError(
                f"{path}, row {i + 1}, column {j + 1}: the formula {formulas[i][j]!r} has no stored value; "
                "open the workbook in a spreadsheet and save it, or export CSV UTF-8"
            )
    return [[cell_text(value) for value in row] for row in rows], notes


def _load(
    path: Path, content: bytes, sheet: str | None, values: bool
) -> tuple[list[list[Any]], list[str], str]:
    check_members(path, content)
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that are of no use here
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=values)
            pages = {page.title: page for page in book.worksheets}
            name = sheet or next(iter(pages), "")
            rows = _cells(pages[name]) if name in pages else []
            merged = _merged_rows(pages[name]) if name in pages else ""
            book.close()
    except Exception as error:  # a parser in every layer, each with errors of its own
        raise ValueError(
            f"{path} cannot be read as an Excel workbook: {error or type(error).__name__}; is it damaged, "
            "or protected by a password?"
        ) from error
    if merged:
        raise ValueError(
            f"{path}: the cells {merged} are merged over several rows, so that all but the first row have "
            "no value; take the merging back and fill every row"
        )
    if name not in pages:
        raise ValueError(f"{path}: expected a sheet among {', '.join(pages) or 'none'}, got {sheet!r}")
    return rows, list(pages), name


def _cells(page: Any) -> list[list[Any]]:
    page.reset_dimensions()  # some programs write wrong ones
    rows = [list(row) for row in page.iter_rows(values_only=True)]
    width = max((len(row) for row in rows), default=0)
    return [row + [None] * (width - len(row)) for row in rows]


def _merged_rows(page: Any) -> str:
    """The first range of merged cells that spans several rows; reading row by row does not show them."""
    from openpyxl.utils import range_boundaries

    with page.parent._archive.open(page._worksheet_path) as stream:
        found = re.findall(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z0-9:]+)"', stream.read())
    for text in (one.decode() for one in found):
        _, top, _, bottom = range_boundaries(text)
        if top != bottom:
            return str(text)
    return ""


def sas_rows(path: Path) -> tuple[list[list[str]], list[str]]:
    """All rows of a SAS data set; SAS' missing values are empty.

    Raises:
        ImportError: pyreadstat is not installed.
        ValueError: damaged.
    """
    try:
        import pyreadstat
    except ImportError as error:
        raise ImportError(_SAS) from error
    read = pyreadstat.read_xport if path.suffix.lower() == ".xpt" else pyreadstat.read_sas7bdat
    if not path.is_file():
        raise OSError(2, f"cannot read {path}: no such file; expected a table")
    try:
        frame, _ = read(str(path))
    except Exception as error:  # of the C library underneath
        raise ValueError(f"{path} cannot be read as a SAS data set: {error}; is it damaged?") from error
    rows = [[str(name) for name in frame.columns]]
    rows += [[cell_text(_plain(value)) for value in row] for row in frame.itertuples(index=False, name=None)]
    return rows, []


def _plain(value: Any) -> Any:
    """Python's own types for those of numpy and pandas; their missing values are ``None``."""
    if hasattr(value, "item"):
        value = value.item()
    return None if value is None or value != value else value  # NaT and NaN
