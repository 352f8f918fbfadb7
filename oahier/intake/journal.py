"""What an import remembers between two runs, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.util import register_after_fork
from pathlib import Path

from oahier.files import write_atomically
from oahier.images import image_files
from oahier.intake.candidate import Candidate

FOLDER = ".import"
"""Folder in the destination that holds the lock and a record per knee."""

_FORMAT = 1
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\..+")
_held: dict[Path, int] = {}


class ImportBusy(OSError):
    """Another process imports into the same folder."""


@dataclass(frozen=True)
class Record:
    """What opening the files of one knee showed.

    Args:
        fingerprint: of the source files and options that it was made from.
        reason: why the knee is left out, empty if it is not.
        side: what the image's header says: left, right or empty.
        source_hash: SHA-256 of the image's file; of several files, of their hashes in order.
        written: files made in the destination and their sizes, ``images/<knee>.nii.gz`` for example.
        notes: remarks of the mask step.
    """

    fingerprint: str
    reason: str = ""
    side: str = ""
    source_hash: str = ""
    written: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Journal:
    """The records of a destination, one small file per knee, each written in one step."""

    def __init__(self, destination: Path) -> None:
        self.destination = destination
        self.folder = destination / FOLDER / "knees"

    def read(self, knee: str) -> Record | None:
        """The record of a knee; ``None`` if there is none, or none that can be read."""
        try:
            return Record(**json.loads((self.folder / f"{knee}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def valid(self, knee: str, fingerprint: str) -> Record | None:
        """The record of a knee if it still holds: same source, same options, files in place."""
        record = self.read(knee)
        if record is None or record.fingerprint != fingerprint:
            return None
        for name, size in record.written.items():
            if size_of(self.destination / name) != size:
                return None
        return record

    def write(self, knee: str, record: Record) -> None:
        """Keep a record.

        Raises:
            OSError: the destination cannot be written.
        """
        write_atomically(self.folder / f"{knee}.json", json.dumps(asdict(record), indent=1))

    def knees(self) -> list[str]:
        """Names of all knees that have a record."""
        return sorted(path.name[: -len(".json")] for path in self.folder.glob("*.json"))

    def written(self) -> frozenset[str]:
        """The files that imports wrote here, as :func:`os.path.realpath` gives them."""
        records = (self.read(knee) for knee in self.knees())
        names = (name for record in records if record is not None for name in record.written)
        return frozenset(os.path.realpath(self.destination / name) for name in names)

    def forget(self, knee: str) -> None:
        """Remove the record of a knee."""
        (self.folder / f"{knee}.json").unlink(missing_ok=True)


def fingerprint(candidate: Candidate, convert: bool) -> str:
    """What an import of a knee depends on: paths, sizes and times of its files, and the options for images.

    Raises:
        OSError: a file is not there.
    """
    files = [*candidate.image_files, *(image_files(candidate.cartilage) if candidate.cartilage else ())]
    state = [(str(path.absolute()), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    step = candidate.mask
    name = getattr(step, "__qualname__", None)
    identity = f"{getattr(step, '__module__', '')}.{name}" if name else repr(step)
    return hashlib.sha256(json.dumps([_FORMAT, state, convert, identity]).encode()).hexdigest()


def size_of(path: Path) -> int:
    """Size of a file, -1 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def remove_temporary_files(destination: Path) -> None:
    """Remove what a killed process left half-written in the folders that imports write to."""
    for folder in (destination, *(destination / name for name in ("images", "cartilage", f"{FOLDER}/knees"))):
        if folder.is_dir():
            for path in folder.iterdir():
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(destination: Path) -> Iterator[None]:
    """Keep other imports out of a folder, which is made if missing; nesting in one process is fine.

    The system releases the lock when the process ends, however it ends.

    Raises:
        ImportBusy: another process holds it.
        OSError: the folder cannot be made or written.
    """
    path = destination.absolute() / FOLDER / "lock"
    if _held.get(path):
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write to {destination}: {error.strerror}; choose another folder",
        ) from error
    with stream:
        _lock(stream.fileno(), path, destination)
        register_after_fork(stream, io.TextIOWrapper.close)  # a process that outlives this one holds no lock
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        _held[path] = 1
        try:
            yield
        finally:
            del _held[path]


def _lock(descriptor: int, path: Path, destination: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = path.read_text(encoding="utf-8", errors="replace") or "another process"
        raise ImportBusy(
            f"{destination} is being written by another import ({holder}); wait until it has ended, "
            "or choose another destination"
        ) from error
