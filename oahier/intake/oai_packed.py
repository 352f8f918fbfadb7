"""Packed series of the Osteoarthritis Initiative, one ``<series>.tar.gz`` each as NDA distributes them."""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.images.dicom import find_series
from oahier.images.errors import UnreadableImage, reason

ARCHIVE = ".tar.gz"
"""End of the name of an archive."""

UNPACKING = ".unpacking-"
"""Start of the name of a folder that is being made."""

_LARGEST = 64 << 20
"""Bytes of one file in an archive; a slice has 0.3 MB."""

_RATIO = 20
"""More than images compress."""


def state_of(archive: Path) -> list[int]:
    """Size of an archive, and time of its last change in nanoseconds.

    Raises:
        OSError: the archive cannot be read.
    """
    state = archive.stat()
    return [state.st_size, state.st_mtime_ns]


def first_member(archive: Path, folder: Path) -> bool:
    """Extract the first slice to a folder; false if there is none.

    Raises:
        ValueError: the archive is damaged.
        OSError: the folder cannot be written.
    """
    with _members(archive) as members:
        for _, content in members:
            (folder / "slice").write_bytes(content)
            return True
    return False


def unpacked_size(archive: Path) -> int:
    """About the bytes that an archive is extracted to, as its last four bytes say.

    Where these are more or less than slices come to, as in damaged files, three times its own size.

    Raises:
        OSError: the archive cannot be read.
    """
    packed = archive.stat().st_size
    with archive.open("rb") as stream:
        stream.seek(max(0, packed - 4))
        told = int.from_bytes(stream.read(4), "little")
    return told if packed // 2 <= told <= _RATIO * packed else 3 * packed


def unpack(archive: Path, target: Path) -> None:
    """Extract the files of a series to a new folder, completely or not at all; folders in it are dropped.

    Raises:
        ValueError: the archive is damaged, or holds something else than slices.
        OSError: the target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=UNPACKING) as folder:
        inner = Path(folder) / "series"
        inner.mkdir()
        with _members(archive) as members:
            for name, content in members:
                if (inner / name).exists():
                    raise ValueError(f"{archive.name}: two members are called {name!r}")
                (inner / name).write_bytes(content)
        os.replace(inner, target)


@contextmanager
def _members(path: Path) -> Iterator[Iterator[tuple[str, bytes]]]:
    """Names and contents of the files of an archive, one after the other."""
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            yield _files(archive, stream, max(_LARGEST, 10 * _RATIO * path.stat().st_size))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path.name} is truncated or damaged: {reason(error)}; copy it again") from error


def _files(archive: tarfile.TarFile, stream: gzip.GzipFile, most: int) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        if member.offset_data + member.size > most:
            raise tarfile.TarError(f"it would grow to more than {most} bytes")
        name = Path(member.name).name
        if member.isdir() or name.startswith("."):
            continue
        if not member.isfile() or member.size > _LARGEST:
            raise tarfile.TarError(f"expected slices, got the member {member.name!r}, a link or too large")
        part = archive.extractfile(member)
        content = part.read() if part is not None else b""
        if len(content) != member.size:
            raise EOFError(f"the member {member.name!r} is cut off")
        yield name, content
    while stream.read(1 << 20):  # to the end, where the checksum is
        continue


def series_faults(folder: Path) -> str:
    """Errors that keep a folder from being one whole volume, empty if there are none."""
    try:
        found = find_series(folder, recursive=False)
    except UnreadableImage as error:
        return str(error)
    if len(found) != 1:
        return f"{len(found)} series in one folder"
    return "; ".join(found[0].problems)


def packed_faults(archive: Path, known: FileFacts) -> str:
    """Errors that keep an archive from being one whole volume, empty if there are none.

    Args:
        archive: a packed series.
        known: faults that were found before.

    Raises:
        OSError: the archive cannot be read, or the store not written.
    """
    key, state = str(archive.absolute()), state_of(archive)
    record = known.get(key)
    if record is None or record["archive"] != state:
        record = {"archive": state, "faults": _faults_within(archive)}
        known.add(key, record)
    return str(record["faults"])


def _faults_within(archive: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / archive.name[: -len(ARCHIVE)]
        try:
            unpack(archive, target)
        except ValueError as error:
            return str(error)
        return series_faults(target).replace(str(target), archive.name)
