"""Files that a reader never sees half of, and tables that no spreadsheet runs."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import re
import stat
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell starts that some spreadsheet runs, in half or full width; or one that was marked."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

BLANK = frozenset({"", "na", "n/a", "nan", "none", "null", "."})
"""Cells, in lower case, that mean "unknown"."""
EMPTY_CELL = "an empty cell (NA, N/A, nan, none, null and '.' are empty)"
"""What an error message calls one of these."""


@runtime_checkable
class Digest(Protocol):
    """A hash that takes bytes, of ``hashlib`` for example."""

    def update(self, data: bytes, /) -> None: ...


def feed_file(digest: Digest, path: Path) -> None:
    """Feed the bytes of a file to a hash, block by block.

    Raises:
        OSError: no such file, no regular file (a pipe would never end), or it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "expected a regular file", str(path))
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)


def write_atomically(path: Path | str, content: str | bytes | Callable[[Path], object]) -> Path:
    """Write a file completely or not at all.

    The content goes to a hidden temporary file in the same folder, which then replaces ``path`` in one
    step. After a crash, an interrupt or a full disk the old file, if there was one, is intact and the
    temporary file is gone.

    Args:
        path: the file to write; missing parent folders are made.
        content: text (written as UTF-8), bytes, or a function that writes to the path it is given
            (that path has all suffixes of ``path``, so savers that look at them work).

    Returns:
        ``path``.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; the message names the file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "runs", "note.txt"), "done").read_text()
    'done'
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(temporary)
        elif isinstance(content, str):
            temporary.write_text(content, encoding="utf-8")
        else:
            temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot write {path}: {reason}; check its folder and the free space"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # also gone where its folder never came to be
            temporary.unlink()
    return path


def write_json(path: Path | str, content: Mapping[str, Any]) -> Path:
    """Write strict JSON: what it does not have, NaN and infinities, becomes ``null``.

    Raises:
        OSError: see :func:`write_atomically`.
    """
    return write_atomically(path, json.dumps(_strict(content), indent=2, allow_nan=False) + "\n")


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_tensors(path: Path | str, content: Any) -> Path:
    """Write what ``torch.load(weights_only=True)`` reads, completely or not at all.

    Torch's own message about a full disk names neither file nor reason, so Python writes the bytes.

    Raises:
        OSError: see :func:`write_atomically`.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getbuffer()))


@contextlib.contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Hold a lock file; yields False where another process holds it. Ends with the process at the latest.

    Raises:
        OSError: the file cannot be made; the message names it.
    """
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def csv_text(
    columns: Sequence[object], rows: Iterable[Sequence[object]], *, digits: int | None = None
) -> str:
    r"""A table as CSV; every table that this library writes is made here.

    ``None`` and NaN are empty cells. A text that a spreadsheet would run as a formula is marked by an
    apostrophe, which the library's readers take off again (:func:`unmarked`).

    Args:
        columns: names.
        rows: as many cells each.
        digits: of floats; all that tell them apart when not given.

    Raises:
        ValueError: a row has another number of cells than there are columns.

    >>> print(csv_text(["id", "score"], [["=1+1", -0.5], ["0071", None]]), end="")
    id,score
    '=1+1,-0.5
    0071,
    """
    lines: list[str] = []
    # with both characters as the line's end, csv quotes cells that hold one of them
    sink = SimpleNamespace(write=lambda line: lines.append(line[:-2] + "\n"))
    writer = csv.writer(sink, lineterminator="\r\n")
    for row in ([str(name) for name in columns], *rows):
        if len(row) != len(columns):
            raise ValueError(f"expected {len(columns)} cells a row, got {len(row)} in {row}")
        writer.writerow([_cell(value, digits) for value in row])
    return "".join(lines)


def frame_csv(frame: pd.DataFrame, *, digits: int | None = None) -> str:
    """A data frame as :func:`csv_text`, without its index."""
    cells = frame.astype(object).where(frame.notna(), None)
    return csv_text(list(cells.columns), cells.itertuples(index=False, name=None), digits=digits)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file in one step; floats keep nine digits (all of float32)."""
    return write_atomically(path, csv_text(columns, rows, digits=9))


def unmarked(cell: str) -> str:
    """A cell of a CSV file without the apostrophe of :func:`csv_text`.

    >>> [unmarked(cell) for cell in ("'=1+1", "''=1+1", "'quoted'", "-5")]
    ['=1+1', "'=1+1", "'quoted'", '-5']
    """
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def read_frame(path: Path, text: Collection[str]) -> pd.DataFrame:
    """A CSV file as a data frame; cells of the columns ``text`` stay text, only empty ones are missing."""
    import pandas as pd

    table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
    for name in set(text) & set(table):
        table[name] = table[name].map(unmarked, na_action="ignore")
    return table


def _cell(value: object, digits: int | None) -> object:
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else value if digits is None else f"{value:.{digits}g}"
    return value
