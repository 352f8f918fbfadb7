"""What is remembered of the folders of a tree, so that nothing is opened twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from oahier.files import write_atomically


class FolderJournal:
    """A record for each folder of a tree, a line of JSON each, read from the disk when it is asked for.

    Records are added as they come, so an import that is killed has those that were done; a last line that was
    cut is none. To be used in ``with``.

    Args:
        store: the file; made if missing, and begun anew if it was made for something else.
        heading: what records depend on: the source, and how it is read.

    Raises:
        OSError: the file cannot be read or written.
    """

    def __init__(self, store: Path, heading: Mapping[str, Any]) -> None:
        self._store, self._lines = store, dict[str, tuple[int, int]]()
        self._heading = (json.dumps(heading) + "\n").encode()
        self._tidy = False

    def __enter__(self) -> FolderJournal:
        self._store.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = self._store.open("a+b")
        self._file.seek(0)
        if self._file.readline() != self._heading:
            self._file.truncate(0)
            self._file.write(self._heading)
        self._tidy = self._index()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _index(self) -> bool:
        """Where the records lie; false if there are lines that are none, or not in order."""
        tidy, place = True, len(self._heading)
        self._file.seek(place)
        for line in self._file:
            try:
                name = str(json.loads(line)["path"])
                tidy &= line.endswith(b"\n") and (not self._lines or name > next(reversed(self._lines)))
                self._lines[name] = place, len(line)
            except (ValueError, KeyError, TypeError):
                tidy = False
            place += len(line)
        if not tidy:
            self._file.write(b"\n")  # behind a line that was cut
        return tidy

    def get(self, path: str) -> dict[str, Any] | None:
        """The record of a folder, ``None`` if there is none."""
        if path not in self._lines:
            return None
        record: dict[str, Any] = json.loads(self._line(path))
        return record

    def _line(self, path: str) -> bytes:
        place, length = self._lines[path]
        self._file.seek(place)
        return self._file.read(length)

    def add(self, record: Mapping[str, Any]) -> None:
        """Keep a record under its ``path``, in place of an earlier one.

        Raises:
            OSError: the file cannot be written.
        """
        line = (json.dumps(record) + "\n").encode()
        place = self._file.seek(0, 2)
        self._file.write(line)
        self._file.flush()
        self._lines[record["path"]] = place, len(line)
        self._tidy = False

    def keep(self, paths: set[str]) -> None:
        """Forget the records of all other folders, and sort those that stay.

        Raises:
            OSError: the file cannot be written.
        """
        if not self._tidy or not self._lines.keys() <= paths:
            write_atomically(self._store, lambda path: self._copy(path, paths))
            self._tidy = True

    def _copy(self, target: Path, paths: set[str]) -> None:
        with target.open("wb") as stream:
            stream.write(self._heading)
            for path in sorted(self._lines.keys() & paths):
                stream.write(self._line(path).removesuffix(b"\n") + b"\n")
