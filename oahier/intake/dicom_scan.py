"""Scan of a tree of DICOM files for series, folder by folder, remembered between runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from oahier import __version__
from oahier.file_facts import FileFacts
from oahier.images.dicom.walk import FolderListing, folders_in
from oahier.intake.destination import FOLDER
from oahier.intake.dicom_folder import FolderJob, FoundSeries, look_into, path_below
from oahier.processes import process_map
from oahier.progress import announce
from oahier.progress import progress as show

STORE = "series.jsonl"
"""Records of all folders, in ``.import`` of the destination."""


@dataclass(frozen=True)
class TreeScan:
    """Looks for series, as :func:`oahier.images.dicom.find_series` does, with one folder in memory.

    Args:
        source: top of the tree.
        destination: folder of the import, which remembers what was found and is not looked into.
        wanted: how series can be read is kept of those whose description or protocol it fits.
        workers: processes that read headers, 0 for none but this one.
        progress: show a bar on standard error.
        insist: kinds of problems in spite of which series are read, as for ``find_series``.
        extracted: another tree, of what archives in the first one hold; its names are as those in the first.
    """

    source: Path
    destination: Path
    wanted: re.Pattern[str]
    workers: int
    progress: bool
    insist: tuple[str, ...] = ()
    extracted: Path | None = None

    def series(self) -> list[FoundSeries]:
        """All series, sorted by folder, description and part; broken ones too.

        Headers are read of new folders and of those in which a file changed; of every other one, one header
        for each series.

        Raises:
            ValueError: a folder cannot be listed, or a negative number of workers.
            ProcessKilled: a process that read headers was killed.
            OSError: the destination cannot be written.
        """
        announce(f"reading the headers of all files in {self.source}", show=self.progress)
        heading = {"importer": "dicom", "oahier": __version__, "source": str(self.source.absolute())}
        heading |= {"look": "3", "insist": ",".join(self.insist)}  # another where series are judged otherwise
        with closing(FileFacts(self.destination / FOLDER / STORE, heading)) as known:
            single = [
                FolderJob(self.source, self.name(one.folder), (one.folder,), _hash(one.state))
                for one in self._folders()
                if one.files
            ]
            found = self._look(single, known)
            states = {job.folders[0]: job.state for job in single}
            spread = _spread(found)
            several = [
                FolderJob(self.source, self.name(first), where, _hash([states[one] for one in where]), uid)
                for uid, (first, where) in spread.items()
            ]
            found = [one for one in found if not one.count or one.uid not in spread]
            found += self._look(several, known)
            known.keep({job.path for job in (*single, *several)})
        found = [replace(one, place=self.name(one.folder)) for one in found]
        return sorted(found, key=lambda one: (str(one.folder), one.description, one.uid, one.part))

    def fits(self, one: FoundSeries) -> bool:
        """True if a series is wanted."""
        return bool(self.wanted.search(one.description) or self.wanted.search(one.protocol))

    def _look(self, jobs: Sequence[FolderJob], known: FileFacts) -> list[FoundSeries]:
        found: list[FoundSeries] = []
        with_records = [_with_record(replace(job, insist=self.insist), known) for job in jobs]
        results = process_map(look_into, with_records, self.workers, ahead=4, name=lambda job: job.path)
        for record, series in show(results, len(jobs), "reading headers, folders", show=self.progress):
            if known.get(record["path"]) != record:
                known.add(record["path"], record)
            found += [one if self.fits(one) else replace(one, shared=None) for one in series]
        return found

    def _folders(self) -> Iterator[FolderListing]:
        if self.source.is_dir():
            yield from folders_in(self.source, apart=self.destination)
        if self.extracted is not None and self.extracted.is_dir():
            yield from folders_in(self.extracted)

    def name(self, path: Path) -> str:
        """Path relative to its tree; of both trees, relative to the first."""
        if self.extracted is not None and path.is_relative_to(self.extracted):
            return path.relative_to(self.extracted).as_posix()
        return path_below(path, self.source)


def _spread(found: Sequence[FoundSeries]) -> dict[str, tuple[Path, tuple[Path, ...]]]:
    """Series that lie in several folders: their first file, and the folders, by SeriesInstanceUID."""
    groups: dict[str, list[FoundSeries]] = {}
    for one in found:
        if one.count:
            groups.setdefault(one.uid, []).append(one)
    spread = {}
    for uid, group in groups.items():
        folders = sorted({one.folder for one in group})
        if len(folders) > 1:
            spread[uid] = min(one.first for one in group), tuple(folders)
    return spread


def _with_record(job: FolderJob, known: FileFacts) -> FolderJob:
    record = known.get(job.path)
    return replace(job, known=record) if record and record.get("state") == job.state else job


def _hash(state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()[:32]
