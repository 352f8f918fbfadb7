"""Safe reading of zip archives, member by member."""

from __future__ import annotations

import io
import lzma
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.files import write_atomically
from oahier.intake.destination import FOLDER

_RATIO = 1000
"""More than images compress: the bytes of an empty label map stand for a few hundred each."""

_SMALL = 10 << 20
"""Bytes up to which a ratio says nothing."""

_BLOCK = 1 << 20
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError),
    UnicodeDecodeError,  # a damaged name
)


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


class UnsafeArchive(ValueError):
    """An archive with a member that nobody should unpack."""


def check_members(path: Path, content: bytes) -> None:
    """Check an archive that is in memory, such as an Excel workbook.

    Raises:
        ValueError: it is no zip archive, or an unsafe one.
    """
    with _opened(path, io.BytesIO(content)) as archive:
        _members(path, archive, len(content))


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
            self._members = _members(path, archive, path.stat().st_size)

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
            waiting = [name for name, path in targets.items() if not self._done(name, path, known)]
            size = sum(map(self.size, waiting))
            check_space(size, f"{size_words(size)} from {self.path.name} to {destination}", destination)
            for name, path in targets.items():
                if name in waiting:
                    try:
                        write_atomically(path, partial(self._write, archive, name))
                    except ValueError as error:
                        problems[name] = str(error)
                    else:
                        known.add(_key(path), self._state(name, path))
                advance(self.size(name))
        return problems

    def waiting(self, targets: Mapping[str, Path], destination: Path) -> int:
        """Bytes that :meth:`extract` would write."""
        with closing(_extracted(destination)) as known:
            return sum(self.size(name) for name, path in targets.items() if not self._done(name, path, known))

    def _done(self, name: str, path: Path, known: FileFacts) -> bool:
        state = known.get(_key(path))
        return state is not None and path.exists() and state == self._state(name, path)

    def _state(self, name: str, path: Path) -> dict[str, int]:
        """Checksum of a member; size of the file that it was extracted to, and time of its last change."""
        found = path.stat()
        return {"crc": self.checksum(name), "size": found.st_size, "mtime": found.st_mtime_ns}

    def _write(self, archive: zipfile.ZipFile, name: str, target: Path) -> None:
        with target.open("wb") as stream:
            self._copy(archive, name, stream)

    def _copy(self, archive: zipfile.ZipFile, name: str, target: io.BufferedIOBase) -> None:
        member, written = self._members[name], 0
        try:
            with archive.open(member) as stream:
                while block := stream.read(_BLOCK):
                    written += len(block)
                    target.write(block)
        except _DAMAGED as error:
            raise ValueError(f"{self.path.name}/{name} is damaged: {error}; download it again") from error
        if written != member.file_size:
            raise ValueError(
                f"{self.path.name}/{name} is damaged: expected {member.file_size} bytes, got {written}"
            )

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise OSError(error.errno, f"cannot read {self.path}: {error.strerror}") from error
        with stream, _opened(self.path, stream) as archive:
            yield archive


@contextmanager
def _opened(path: Path, stream: io.BufferedIOBase) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(stream)
    except (*_DAMAGED, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{path} is truncated or no zip archive: {error}; download it again") from error
    with archive:
        yield archive


def _members(path: Path, archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if not 0 <= member.header_offset < size:
            raise ValueError(f"{path} is truncated: the member {member.filename!r} lies outside of it")
        name = member.filename.replace("\\", "/")
        why = _unsafe(member, name)
        if not why and name in members:
            why = "occurs twice"
        if why:
            raise UnsafeArchive(f"{path}: the member {member.filename!r} {why}; nothing was extracted")
        if not name.endswith("/"):
            members[name] = member
    if sum(member.compress_size for member in members.values()) > size:
        raise UnsafeArchive(
            f"{path}: its members overlap, as in an archive made to fill disks; nothing was extracted"
        )
    return members


def _unsafe(member: zipfile.ZipInfo, name: str) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if not name or not name.isprintable():
        return "has a name that cannot be printed"
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no regular file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > max(_SMALL, _RATIO * member.compress_size):
        return f"would grow from {member.compress_size} to {member.file_size} bytes"
    return ""


def _extracted(destination: Path) -> FileFacts:
    """Checksum, size and time of the files that were extracted to a destination."""
    return FileFacts(destination / FOLDER / "members.jsonl", {"format": 1})


def _key(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
