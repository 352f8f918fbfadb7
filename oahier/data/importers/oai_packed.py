"""Series of the Osteoarthritis Initiative as NDA packs them: one ``<series>.tar.gz`` each."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from oahier.data.importers.archives import size_words
from oahier.data.importers.candidates import Candidate, LeftOut
from oahier.data.importers.parallel import announce
from oahier.data.reading.errors import reason

ARCHIVE = ".tar.gz"
"""End of the name of an archive."""

_UNPACKING = ".unpacking-"

_LARGEST = 64 << 20
"""Bytes of one file in an archive; a slice has 0.3 MB."""


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


def unpack_all(
    candidates: Sequence[Candidate], destination: Path, progress: bool
) -> tuple[list[Candidate], list[LeftOut]]:
    """Extract the archives among the images of candidates to ``destination/dicom``, which is announced.

    Returns:
        candidates with folders in place of archives, and those whose archive is damaged.

    Raises:
        OSError: the destination cannot be written.
    """
    for stale in (destination / "dicom").glob(f"*/{_UNPACKING}*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    targets = {item.knee: _target(destination, item) for item in candidates if _is_packed(item)}
    waiting = [item for item in candidates if item.knee in targets and not targets[item.knee].is_dir()]
    if waiting:
        size = size_words(sum(item.mri.stat().st_size for item in waiting))
        words = f"extracting {len(waiting)} series, {size} of archives, to {destination / 'dicom'}"
        announce(words, progress)
    lost: dict[str, str] = {}
    for item in waiting:
        try:
            unpack(item.mri, targets[item.knee])
        except ValueError as error:
            lost[item.knee] = str(error)
    out = [LeftOut(i.source, i.knee, i.subject, lost[i.knee]) for i in candidates if i.knee in lost]
    kept = [item for item in candidates if item.knee not in lost]
    return [replace(item, mri=targets.get(item.knee, item.mri)) for item in kept], out


def unpack(archive: Path, target: Path) -> None:
    """Extract the files of a series to a new folder, completely or not at all; folders in it are dropped.

    Raises:
        ValueError: the archive is damaged, or holds something else than slices.
        OSError: the target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=_UNPACKING) as folder:
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
            yield _files(archive, stream)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path.name} is truncated or damaged: {reason(error)}; copy it again") from error


def _files(archive: tarfile.TarFile, stream: gzip.GzipFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
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


def _is_packed(item: Candidate) -> bool:
    return item.mri.name.lower().endswith(ARCHIVE)


def _target(destination: Path, item: Candidate) -> Path:
    """Folder of an extracted series; another archive of the same knee gets another one."""
    return destination / "dicom" / item.knee / item.mri.name[: -len(ARCHIVE)]
