"""All series of a tree of DICOM files, folder by folder; an interrupted look goes on where it stopped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oahier.images.dicom.walk import folders_in
from oahier.intake.dicom_folder import FolderJob, FoundSeries, look_into
from oahier.intake.folder_journal import FolderJournal
from oahier.intake.journal import FOLDER
from oahier.intake.parallel import ImportInterrupted
from oahier.processes import ProcessKilled, process_map
from oahier.progress import announce, progress

STORE = "series.jsonl"
"""What is remembered of every folder, in ``.import`` of the destination."""


@dataclass(frozen=True)
class TreeScan:
    """Looks for series, as :func:`oahier.images.dicom.find_series` does, with one folder in memory.

    Args:
        source: top of the tree.
        destination: folder of the import, which remembers what was found and is not looked into.
        wanted: how series can be read is kept of those whose description or protocol it fits.
        workers: processes that read headers, 0 for none but this one.
        progress: show a bar on standard error.
    """

    source: Path
    destination: Path
    wanted: re.Pattern[str]
    workers: int
    progress: bool

    def series(self) -> list[FoundSeries]:
        """All series, sorted by folder, description and part; broken ones too.

        Headers are read of new folders and of those in which a file changed; of every other one, one header
        for each series.

        Raises:
            ValueError: a folder cannot be listed, or a negative number of workers.
            ImportInterrupted: a process was killed or ran out of memory.
            OSError: the destination cannot be written.
        """
        from oahier import __version__

        announce(f"reading the headers of all files in {self.source}", show=self.progress)
        heading = {"importer": "dicom", "oahier": __version__, "source": str(self.source.absolute())}
        heading |= {"look": "2"}  # another one where series are judged in another way
        with FolderJournal(self.destination / FOLDER / STORE, heading) as journal:
            single = [
                FolderJob(self.source, self._name(one.folder), (one.folder,), _hash(one.state))
                for one in folders_in(self.source, apart=self.destination)
                if one.files
            ]
            found = self._look(single, journal)
            states = {job.folders[0]: job.state for job in single}
            spread = _spread(found)
            several = [
                FolderJob(self.source, self._name(first), where, _hash([states[one] for one in where]), uid)
                for uid, (first, where) in spread.items()
            ]
            found = [one for one in found if not one.slices or one.uid not in spread]
            found += self._look(several, journal)
            journal.keep({job.path for job in (*single, *several)})
        return sorted(found, key=lambda one: (str(one.folder), one.description, one.uid, one.part))

    def fits(self, one: FoundSeries) -> bool:
        """True if a series is wanted."""
        return bool(self.wanted.search(one.description) or self.wanted.search(one.protocol))

    def _look(self, jobs: Sequence[FolderJob], journal: FolderJournal) -> list[FoundSeries]:
        found: list[FoundSeries] = []
        if not jobs:
            return found

        def with_record(job: FolderJob) -> FolderJob:
            known = journal.get(job.path)
            return replace(job, known=known) if known and known.get("state") == job.state else job

        workers = 0 if self.workers > 0 and len(jobs) == 1 else min(self.workers, len(jobs))
        looks = process_map(look_into, map(with_record, jobs), workers, ahead=4, name=lambda job: job.path)
        try:
            for record, series in progress(looks, len(jobs), "reading headers, folders", show=self.progress):
                if journal.get(record["path"]) != record:
                    journal.add(record)
                found += [one if self.fits(one) else replace(one, shared=None) for one in series]
        except ProcessKilled as error:
            raise ImportInterrupted(
                f"a process was killed while it read {error.items}; what was done is kept in "
                f"{self.destination}: run the same import again, with fewer workers than {workers} if "
                "memory is short"
            ) from error
        return found

    def _name(self, path: Path) -> str:
        return path.relative_to(self.source).as_posix()


def _spread(found: Sequence[FoundSeries]) -> dict[str, tuple[Path, tuple[Path, ...]]]:
    """Series that lie in several folders: their first file, and the folders, by SeriesInstanceUID."""
    groups: dict[str, list[FoundSeries]] = {}
    for one in found:
        if one.slices:
            groups.setdefault(one.uid, []).append(one)
    spread = {}
    for uid, group in groups.items():
        folders = sorted({one.folder for one in group})
        if len(folders) > 1:
            spread[uid] = min(one.first for one in group), tuple(folders)
    return spread


def _hash(state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()[:32]
