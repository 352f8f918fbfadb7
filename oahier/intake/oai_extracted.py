"""Extraction of packed series of the OAI to the destination: once, and again when an archive changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.intake.archives import check_space, size_words
from oahier.intake.candidate import Candidate, LeftOut
from oahier.intake.destination import FOLDER
from oahier.intake.oai_packed import ARCHIVE, UNPACKING, state_of, unpack, unpacked_size
from oahier.progress import announce
from oahier.progress import progress as show

_DICOM = "dicom"
"""Folder of the destination that series are extracted to, ``dicom/<knee>/<series>``."""


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
        item.knee: _Packed(item.mri, destination / _DICOM / item.knee / item.mri.name[: -len(ARCHIVE)])
        for item in candidates
        if item.mri.name.lower().endswith(ARCHIVE)
    }
    with closing(_extracted(destination)) as known:
        waiting = [item for item in packed.values() if known.get(item.key) != item.state()]
        lost = _extract(waiting, destination, known, workers, progress) if waiting else {}
    kept, out = [], []
    for item in candidates:
        if item.mri in lost:
            out.append(LeftOut(item.source, item.knee, item.subject, lost[item.mri]))
        else:
            kept.append(replace(item, mri=packed[item.knee].target) if item.knee in packed else item)
    return kept, out


@dataclass(frozen=True)
class _Packed:
    """An archive, and the folder that it is extracted to."""

    archive: Path
    target: Path

    @property
    def key(self) -> str:
        """The folder relative to the destination, with ``/``."""
        return "/".join(self.target.parts[-3:])

    @property
    def fresh(self) -> Path:
        """The folder while it is being made."""
        return self.target.with_name(f"{UNPACKING}{self.target.name}-new")

    def state(self, archive: list[int] | None = None) -> dict[str, object]:
        """Size and time of the archive, as it is now or as given; number and bytes of the extracted files."""
        found = self.target.iterdir() if self.target.is_dir() else ()
        sizes = [path.stat().st_size for path in found if path.is_file()]
        return {"archive": archive or state_of(self.archive), "files": len(sizes), "bytes": sum(sizes)}

    def unpack(self) -> list[int]:
        """Unpack the archive beside its folder; size and time of the archive before that.

        Raises:
            ValueError: the archive is damaged.
            OSError: the destination cannot be written.
        """
        archive = state_of(self.archive)
        unpack(self.archive, self.fresh)
        return archive

    def replace(self, archive: list[int], known: FileFacts) -> None:
        """Put the new folder in place of an old one; after a kill at any step it is simply not done."""
        old = self.target.with_name(f"{UNPACKING}{self.target.name}-old")
        known.add(self.key, None)
        if self.target.exists():
            os.replace(self.target, old)
        os.replace(self.fresh, self.target)
        known.add(self.key, self.state(archive))
        shutil.rmtree(old, ignore_errors=True)


def _extract(
    waiting: Sequence[_Packed], destination: Path, known: FileFacts, workers: int, progress: bool
) -> dict[Path, str]:
    """Extract archives; why it was impossible by archive."""
    size = sum(unpacked_size(item.archive) for item in waiting)
    words = f"{len(waiting)} series, {size_words(size)}, to {destination / _DICOM}"
    check_space(
        size, words, destination,
        advice="free some space, choose another destination, or fewer visits or sides",
    )  # fmt: skip
    announce(f"extracting {words}", show=progress)
    lost: dict[Path, str] = {}
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = {pool.submit(item.unpack): item for item in waiting}
        done = show(as_completed(futures), len(waiting), "extracting series", show=progress)
        try:
            for future in done:
                item = futures[future]
                try:
                    item.replace(future.result(), known)
                except ValueError as error:
                    lost[item.archive] = str(error)
        finally:
            pool.shutdown(cancel_futures=True)
    return lost


def remove_unused(destination: Path, candidates: Sequence[Candidate]) -> None:
    """Remove the folders that earlier imports extracted and these candidates do not use.

    To be called when no manifest points to them any more.
    """
    used = {item.mri for item in candidates}
    with closing(_extracted(destination)) as known:
        for key, folder in _folders(destination, known):
            if folder in used:
                continue
            unused = folder.with_name(f"{UNPACKING}{folder.name}-unused")
            if folder.is_dir():
                os.replace(folder, unused)
            known.add(key, None)
            shutil.rmtree(unused, ignore_errors=True)
            if folder.parent.is_dir() and not any(folder.parent.iterdir()):
                folder.parent.rmdir()


def extracted_folders(destination: Path) -> set[Path]:
    """Folders of knees that were extracted to a destination, with links resolved."""
    with closing(_extracted(destination)) as known:
        return {folder.parent.resolve() for _, folder in _folders(destination, known)}


def _extracted(destination: Path) -> FileFacts:
    """Size and time of the archive, and number and bytes of the files, of each folder."""
    return FileFacts(destination / FOLDER / "packed.jsonl", {"format": 1})


def _folders(destination: Path, known: FileFacts) -> Iterator[tuple[str, Path]]:
    for key in known:
        parts = Path(key).parts
        if len(parts) == 3 and parts[0] == _DICOM and ".." not in parts:
            yield key, destination / key


def _remove_half_made(destination: Path) -> None:
    """Remove the folders that a process was making, or removing, when it was killed."""
    for stale in (destination / _DICOM).glob(f"*/{UNPACKING}*"):
        shutil.rmtree(stale, ignore_errors=True)
