"""Safe reading of zip archives, member by member."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.files import write_atomically
from oahier.intake.destination import FOLDER
from oahier.zips import copy_member, opened, safe_members


def size_words(count: int) -> str:
    """Bytes in the unit that fits.

    >>> size_words(1234), size_words(9_800_000_000)
    ('1.2 kB', '9.8 GB')
    """
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} bytes"


def check_space(
    size: int, words: str, destination: Path, advice: str = "free some space, or choose another destination"
) -> None:
    """Refuse to extract more than fits on a disk.

    Args:
        size: bytes of all files.
        words: what is extracted, and where to.
        destination: a folder on the disk.
        advice: the end of the message.

    Raises:
        OSError: the disk has fewer free bytes.
    """
    free = shutil.disk_usage(destination).free
    if size > free:
        raise OSError(28, f"cannot extract {words}: only {size_words(free)} are free there; {advice}")


class Archive:
    """The members of a zip file, all of which have been found safe.

    Raises:
        UnsafeArchive: a name that leads out of the folder, a symbolic link, an encrypted or doubled member,
            or one that would unpack to something huge; the message names it.
        ValueError: truncated, or no zip file.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as archive:
            self._members = safe_members(path, archive, path.stat().st_size)

    @property
    def names(self) -> list[str]:
        """Names of the files in it, with ``/`` between folders."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Bytes of a member when unpacked."""
        return self._members[name].file_size

    def checksum(self, name: str) -> int:
        """CRC-32 of a member."""
        return self._members[name].CRC

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            ValueError: it is damaged.
        """
        stream = io.BytesIO()
        with self._open() as archive:
            self._copy(archive, name, stream)
        return stream.getvalue()

    def extract(
        self, targets: Mapping[str, Path], destination: Path, advance: Callable[[int], None] = lambda _: None
    ) -> dict[str, str]:
        """Write members to files, each completely or not at all; those that are there already stay.

        Args:
            targets: file for each member.
            destination: the folder of the import, which remembers what was extracted.
            advance: called with the bytes of each member that is done.

        Returns:
            why a member could not be extracted; empty if all were.

        Raises:
            OSError: a file cannot be written, or the disk is too small for all of them.
        """
        problems = {}
        with closing(_extracted(destination)) as known, self._open() as archive:
            waiting = [
                name for name, path in targets.items() if not self._done(name, path, known, destination)
            ]
            size = sum(map(self.size, waiting))
            check_space(size, f"{size_words(size)} from {self.path.name} to {destination}", destination)
            for name, path in targets.items():
                if name in waiting:
                    try:
                        write_atomically(path, partial(self._write, archive, name))
                    except ValueError as error:
                        problems[name] = str(error)
                    else:
                        known.add(_key(path, destination), self._state(name, path))
                advance(self.size(name))
        return problems

    def waiting(self, targets: Mapping[str, Path], destination: Path) -> int:
        """Bytes that :meth:`extract` would write."""
        with closing(_extracted(destination)) as known:
            return sum(
                self.size(name)
                for name, path in targets.items()
                if not self._done(name, path, known, destination)
            )

    def _done(self, name: str, path: Path, known: FileFacts, destination: Path) -> bool:
        state = known.get(_key(path, destination))
        return state is not None and path.exists() and state == self._state(name, path)

    def _state(self, name: str, path: Path) -> dict[str, int]:
        """Checksum of a member; size of the file that it was extracted to, and time of its last change."""
        found = path.stat()
        return {"crc": self.checksum(name), "size": found.st_size, "mtime": found.st_mtime_ns}

    def _write(self, archive: zipfile.ZipFile, name: str, target: Path) -> None:
        with target.open("wb") as stream:
            self._copy(archive, name, stream)

    def _copy(self, archive: zipfile.ZipFile, name: str, target: io.BufferedIOBase) -> None:
        copy_member(archive, self._members[name], f"{self.path.name}/{name}", target)

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise OSError(error.errno, f"cannot read {self.path}: {error.strerror}") from error
        with stream, opened(self.path, stream) as archive:
            yield archive


def remove_others(destination: Path, folder: Path, kept: Collection[Path]) -> None:
    """Remove the members in a folder of the destination that were extracted once and are not kept."""
    with closing(_extracted(destination)) as known:
        for path in (destination / key for key in known):
            if path.is_relative_to(folder) and path not in kept:
                path.unlink(missing_ok=True)
                known.add(_key(path, destination), None)
                for inner in path.parents:
                    if inner == destination or not inner.is_dir() or any(inner.iterdir()):
                        break
                    inner.rmdir()


def _extracted(destination: Path) -> FileFacts:
    """Checksum, size and time of the files that were extracted to a destination."""
    return FileFacts(destination / FOLDER / "members.jsonl", {"format": 1})


def _key(path: Path, destination: Path) -> str:
    return path.relative_to(destination).as_posix()
