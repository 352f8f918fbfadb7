"""The destination of an import: its lock, its folder of remembered facts, and what may not be replaced."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
from collections.abc import Iterator
from multiprocessing.util import register_after_fork
from pathlib import Path

from oahier.processes import ProcessKilled

FOLDER = ".import"
"""Folder in the destination that holds the lock and what is remembered."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\..+")
_held: set[Path] = set()


class ImportBusy(OSError):
    """Another process imports into the same folder."""


class ImportInterrupted(OSError):
    """A process that worked for an import was killed."""


@contextlib.contextmanager
def locked(destination: Path, importer: str) -> Iterator[None]:
    """Keep other imports out of a folder, which is made if missing; nesting in one process is fine.

    The system releases the lock when the process ends, however it ends.

    Raises:
        ImportBusy: another process holds it.
        ValueError: the folder has a manifest that another importer wrote, or none.
        ImportInterrupted: a process that worked for the import was killed.
        OSError: the folder cannot be made or written.
    """
    path = destination.absolute() / FOLDER / "lock"
    if path in _held:
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
        register_after_fork(stream, io.TextIOWrapper.close)  # a process that outlives this one holds no lock
        _lock(stream.fileno(), path, destination)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        _held.add(path)
        try:
            _check_manifest(destination, importer)
            _remove_temporary_files(destination)
            yield
        except ProcessKilled as error:
            raise ImportInterrupted(
                f"a process was killed while it read {error.items}; what was done is kept in {destination}: "
                "run the same import again, with fewer workers if memory is short"
            ) from error
        finally:
            _held.remove(path)


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


def _check_manifest(folder: Path, importer: str) -> None:
    """Refuse a folder whose manifest is not of this kind of import."""
    if not (folder / "manifest.csv").exists():
        return
    try:
        report = json.loads((folder / "import.json").read_text(encoding="utf-8"))
        found = str(report["importer"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder} holds a manifest.csv that no import wrote; it would be replaced. Choose another folder"
        ) from None
    if found != importer:
        raise ValueError(
            f"{folder} holds an import of {found!r}, which {importer!r} would replace; choose another folder"
        )


def _remove_temporary_files(destination: Path) -> None:
    """Remove what a killed process left half-written in the folders that imports write to."""
    for folder in (destination, *(destination / name for name in ("images", "cartilage", FOLDER))):
        if folder.is_dir():
            for path in folder.iterdir():
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)
