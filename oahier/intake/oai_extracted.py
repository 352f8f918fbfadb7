"""Packed series of the OAI, extracted to the destination: once, and again when their archive changes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from oahier.files import write_atomically
from oahier.intake.archives import size_words
from oahier.intake.candidate import Candidate, LeftOut
from oahier.intake.journal import FOLDER
from oahier.intake.oai_packed import ARCHIVE, UNPACKING, unpack, unpacked_size
from oahier.progress import announce
from oahier.progress import progress as show

_DICOM = "dicom"
"""Folder of the destination that series are extracted to, ``dicom/<knee>/<series>``."""


@dataclass(frozen=True)
class _Packed:
    """An archive, and the folder that it is extracted to."""

    knee: str
    archive: Path
    destination: Path

    @property
    def target(self) -> Path:
        """Its folder; another archive of the same knee gets another one."""
        return self.destination / _DICOM / self.knee / self.archive.name[: -len(ARCHIVE)]

    @property
    def record(self) -> Path:
        """The file that tells which archive the folder was extracted from."""
        return _records(self.destination) / f"{self.knee}-{self.target.name}.json"

    def done(self) -> bool:
        """True if the folder holds what was extracted from the archive as it is now."""
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
            return bool(known == self._state(_state_of(self.archive)))
        except (OSError, ValueError):
            return False

    def extract(self) -> None:
        """Put a new folder in place of an old one; after a kill at any step it is simply not done.

        Raises:
            ValueError: the archive is damaged; an old folder is left.
            OSError: the destination cannot be written.
        """
        archive = _state_of(self.archive)
        fresh, old = (
            self.target.with_name(f"{UNPACKING}{self.target.name}-{name}") for name in ("new", "old")
        )
        unpack(self.archive, fresh)
        self.record.unlink(missing_ok=True)
        if self.target.exists():
            os.replace(self.target, old)
        os.replace(fresh, self.target)
        write_atomically(self.record, json.dumps(self._state(archive)))
        shutil.rmtree(old, ignore_errors=True)

    def _state(self, archive: tuple[int, int]) -> dict[str, object]:
        with os.scandir(self.target) as listing:
            sizes = [entry.stat().st_size for entry in listing if entry.is_file()]
        folder = self.target.relative_to(self.destination).as_posix()
        return {"archive": list(archive), "files": len(sizes), "bytes": sum(sizes), "folder": folder}


def unpack_all(
    candidates: Sequence[Candidate], destination: Path, workers: int, progress: bool
) -> tuple[list[Candidate], list[LeftOut]]:
    """Extract the archives among the images of candidates to ``destination/dicom``, which is announced.

    Those that are there, of archives that have not changed since, stay.

    Args:
        candidates: knees, of folders and of archives.
        destination: the folder of the import.
        workers: archives that are extracted at once, 0 for one.
        progress: show a bar.

    Returns:
        candidates with folders in place of archives, and those whose archive is damaged.

    Raises:
        OSError: the destination cannot be written, or is too small for all of them.
    """
    _remove_half_made(destination)
    packed = {
        item.knee: _Packed(item.knee, item.mri, destination)
        for item in candidates
        if item.mri.name.lower().endswith(ARCHIVE)
    }
    lost = _extract([item for item in packed.values() if not item.done()], destination, workers, progress)
    out = [LeftOut(i.source, i.knee, i.subject, lost[i.knee]) for i in candidates if i.knee in lost]
    kept = [item for item in candidates if item.knee not in lost]
    return [replace(i, mri=packed[i.knee].target) if i.knee in packed else i for i in kept], out


def _extract(waiting: Sequence[_Packed], destination: Path, workers: int, progress: bool) -> dict[str, str]:
    """Extract archives; why it was impossible by knee."""
    if not waiting:
        return {}
    size, free = sum(unpacked_size(item.archive) for item in waiting), shutil.disk_usage(destination).free
    words = f"{len(waiting)} series, {size_words(size)}, to {destination / _DICOM}"
    if size > free:
        raise OSError(
            28, f"cannot extract {words}: only {size_words(free)} are free there; free some space, choose "
            "another destination, or fewer visits or sides",
        )  # fmt: skip
    announce(f"extracting {words}", show=progress)
    lost: dict[str, str] = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = {pool.submit(item.extract): item.knee for item in waiting}
        try:
            for future in show(as_completed(futures), len(futures), "extracting series", show=progress):
                try:
                    future.result()
                except ValueError as error:
                    lost[futures[future]] = str(error)
        finally:
            pool.shutdown(cancel_futures=True)
    return lost


def remove_unused(destination: Path, candidates: Sequence[Candidate]) -> None:
    """Remove the folders that earlier imports extracted and these candidates do not use.

    To be called when no manifest points to them any more.
    """
    used = {item.mri for item in candidates}
    for record, folder in _extracted(destination):
        if folder is None:
            record.unlink(missing_ok=True)
        elif folder not in used:
            unused = folder.with_name(f"{UNPACKING}{folder.name}-unused")
            if folder.is_dir():
                os.replace(folder, unused)
            record.unlink(missing_ok=True)
            shutil.rmtree(unused, ignore_errors=True)
            if folder.parent.is_dir() and not any(folder.parent.iterdir()):
                folder.parent.rmdir()


def extracted_folders(destination: Path) -> set[Path]:
    """Folders of knees that were extracted to a destination, with links resolved."""
    return {folder.parent.resolve() for _, folder in _extracted(destination) if folder is not None}


class PackedFaults:
    """Why archives are not one whole volume, which is remembered in the destination.

    Args:
        destination: the folder of the import.
    """

    def __init__(self, destination: Path) -> None:
        self._store = destination / FOLDER / "packed-faults.json"

    def faults(self, archive: Path) -> str:
        """Why an archive is not one whole volume, empty if it is.

        Raises:
            OSError: the archive cannot be read, or the destination not written.
        """
        known, key = self._read(), json.dumps([str(archive.absolute()), *_state_of(archive)])
        if key not in known:
            known[key] = _faults_within(archive)
            write_atomically(self._store, json.dumps(known, indent=0))
        return known[key]

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._store.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(key): str(fault) for key, fault in known.items()} if isinstance(known, dict) else {}


def series_faults(folder: Path) -> str:
    """Why a folder is not one whole volume, empty if it is."""
    from oahier.images import UnreadableImage
    from oahier.images.dicom import find_series

    try:
        found = find_series(folder, recursive=False)
    except UnreadableImage as error:
        return str(error)
    if len(found) != 1:
        return f"{len(found)} series in one folder"
    return "; ".join(found[0].problems)


def _faults_within(archive: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / archive.name[: -len(ARCHIVE)]
        try:
            unpack(archive, target)
        except ValueError as error:
            return str(error)
        return series_faults(target).replace(str(target), archive.name)


def _state_of(archive: Path) -> tuple[int, int]:
    """Size, and time of the last change in nanoseconds."""
    state = archive.stat()
    return state.st_size, state.st_mtime_ns


def _records(destination: Path) -> Path:
    return destination / FOLDER / "packed"


def _extracted(destination: Path) -> Iterator[tuple[Path, Path | None]]:
    """Records, and the folders they are of; ``None`` for one that is damaged or half-written."""
    for record in sorted(_records(destination).glob("*.json")):
        try:
            parts = Path(json.loads(record.read_text(encoding="utf-8"))["folder"]).parts
        except (OSError, ValueError, KeyError, TypeError):
            parts = ()
        good = len(parts) == 3 and parts[0] == _DICOM and ".." not in parts and record.name[:1] != "."
        yield record, destination.joinpath(*parts) if good else None


def _remove_half_made(destination: Path) -> None:
    """Remove the folders that a process was making, or removing, when it was killed."""
    for stale in (destination / _DICOM).glob(f"*/{UNPACKING}*"):
        shutil.rmtree(stale, ignore_errors=True)
