"""Store of facts about files, kept between runs so that nothing unchanged is opened twice."""

from __future__ import annotations

import json
import weakref
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from oahier.files import write_atomically


class FileFacts:
    r"""A JSON record for each key, one line each, read from the disk when it is asked for.

    Records are appended as they come, so those of a process that was killed are kept; a last line that was
    cut is ignored. The store is only a memory and can be deleted.

    Args:
        path: the file; made if missing, and begun anew if it was made for something else.
        heading: what all records depend on, such as the source and the version of their format.

    Raises:
        OSError: the file cannot be read or written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "facts.jsonl")
    >>> facts = FileFacts(path, {"format": 1})
    >>> facts.add("a.nii", {"size": 3})
    >>> facts.get("a.nii"), facts.get("b.nii")
    ({'size': 3}, None)
    """

    def __init__(self, path: Path, heading: Mapping[str, Any]) -> None:
        self._path = path
        self._heading = (json.dumps(heading) + "\n").encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = self._open()

    def close(self) -> None:
        """Close the file; it is also closed when the store is collected."""
        self._close()

    def __iter__(self) -> Iterator[str]:
        """The keys, sorted."""
        return iter(sorted(self._lines))

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a key, ``None`` if there is none that can be read."""
        if key not in self._lines:
            return None
        try:
            name, record = map(json.loads, self._line(key).split(b"\t"))
        except ValueError:
            return None
        return record if name == key and isinstance(record, dict) else None

    def add(self, key: str, record: Mapping[str, Any] | None) -> None:
        """Keep a record in place of an earlier one; ``None`` forgets it.

        Raises:
            OSError: the file cannot be written.
        """
        line = f"{json.dumps(key)}\t{json.dumps(record)}\n".encode()
        with self._path.open("ab") as stream:
            stream.write(line)
            stream.flush()
            self._lines[key] = stream.tell() - len(line), len(line)
        if record is None:
            del self._lines[key]

    def keep(self, keys: Collection[str]) -> None:
        """Forget the records of all other keys, and sort those that stay.

        Raises:
            OSError: the file cannot be written.
        """
        kept = [key for key in self if key in keys]
        content = self._heading + b"".join(map(self._line, kept))
        self._close()
        if self._path.read_bytes() != content:
            write_atomically(self._path, content)
        self._lines = self._open()

    def _open(self) -> dict[str, tuple[int, int]]:
        """Offset and length of each key's line."""
        with self._path.open("a+b") as stream:
            stream.seek(0)
            if stream.readline() != self._heading:
                stream.truncate(0)
                stream.write(self._heading)
        self._file = self._path.open("rb")
        self._close = weakref.finalize(self, self._file.close)
        lines: dict[str, tuple[int, int]] = {}
        offset, line = len(self._heading), b"\n"
        self._file.seek(offset)
        for line in self._file:
            if (key := _key(line)) is not None:
                lines[key] = offset, len(line)
                if line.endswith(b"\tnull\n"):
                    del lines[key]
            offset += len(line)
        if not line.endswith(b"\n"):
            with self._path.open("ab") as stream:
                stream.write(b"\n")
        return lines

    def _line(self, key: str) -> bytes:
        offset, length = self._lines[key]
        self._file.seek(offset)
        return self._file.read(length)


def _key(line: bytes) -> str | None:
    """The key of a line, ``None`` for a line that was cut or is no record."""
    try:
        key = json.loads(line.partition(b"\t")[0])
    except ValueError:
        return None
    return key if isinstance(key, str) and b"\t" in line and line.endswith(b"\n") else None
