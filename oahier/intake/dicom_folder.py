"""Series of one folder, from the headers of all files or from the record of an earlier scan."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oahier.images.dicom import Series, series_of
from oahier.images.dicom.headers import Identity, read_slices
from oahier.images.dicom.walk import list_folder


@dataclass(frozen=True, kw_only=True)
class FoundSeries(Series):
    """A series of a tree that is scanned, without its files and slices.

    Args:
        first: file of its first slice.
        count: number of its slices, 0 for damaged files in a folder without a sound one.
        shared: the series with its files where its folder holds other series too, where it lies in several
            folders, or is read in spite of a problem; ``None`` where reading the folder is enough.
        place: its folder relative to the tree, as people know it.
    """

    first: Path
    count: int
    shared: Series | None
    place: str = ""


@dataclass(frozen=True)
class FolderJob:
    """Folders to look at.

    Args:
        source: top of the tree.
        path: name of the record.
        folders: folders whose files belong together.
        state: of the files: names, sizes and times of their last change, as a hash.
        uid: SeriesInstanceUID of the series that are wanted, ``None`` for all.
        known: the record of an earlier scan, if files were the same then.
        insist: kinds of problems in spite of which series are read.
    """

    source: Path
    path: str
    folders: tuple[Path, ...]
    state: str
    uid: str | None = None
    known: dict[str, Any] | None = None
    insist: tuple[str, ...] = ()


def path_below(path: Path, top: Path) -> str:
    """A path relative to a folder, which it may lead out of, with ``/``."""
    return Path(os.path.relpath(path, top)).as_posix()


def look_into(job: FolderJob) -> tuple[dict[str, Any], list[FoundSeries]]:
    """The record of some folders, and their series.

    A record holds nothing of a header that tells who somebody is: patient and date are read again, from one
    file of each series, while all others need not be opened.

    Raises:
        UnreadableImage: a folder cannot be listed.
    """
    if job.known is not None:
        try:
            return job.known, [_remembered(job.source, entry) for entry in job.known["series"]]
        except Exception:  # a file that cannot be read any more, or a record of something else: look again
            return look_into(replace(job, known=None))
    files = [file for folder in job.folders for file in list_folder(folder).files]
    series = [one.without_slices() for one in series_of(files, job.uid, job.insist)]
    alone = len(series) == 1 and len(job.folders) == 1 and not series[0].insisted
    entries = [_entry(job.source, one, alone) for one in series]
    record = {"path": job.path, "state": job.state, "series": entries}
    return record, [_found(one, one.files[_first(one)[0]], len(one.places), alone) for one in series]


def _first(series: Series) -> tuple[int, int]:
    """File number and frame of the first slice; the first file of those that are all damaged."""
    return series.places[0] if series.places else (0, 0)


def _found(series: Series, first: Path, slices: int, alone: bool) -> FoundSeries:
    fields = vars(series) | {"files": (), "places": ()}
    return FoundSeries(**fields, first=first, count=slices, shared=None if alone else series)


def _entry(source: Path, series: Series, alone: bool) -> dict[str, Any]:
    number, frame = _first(series)
    names = [file.relative_to(series.folder).as_posix() for file in series.files]
    entry: dict[str, Any] = {
        "folder": path_below(series.folder, source), "first": [names[number], frame],
        "slices": len(series.places), "laterality": series.laterality, "echo": series.echo,
        "part": series.part, "problems": series.problems, "notes": series.notes,
        "insisted": series.insisted,
    }  # fmt: skip
    return entry if alone else entry | {"files": names, "places": series.places}


def _remembered(source: Path, entry: dict[str, Any]) -> FoundSeries:
    folder, (name, frame) = source / entry["folder"], entry["first"]
    folder = Path(os.path.normpath(folder)) if ".." in folder.parts[len(source.parts) :] else folder
    first = folder / name
    identity = read_slices(first)[frame].identity if entry["slices"] else Identity("")
    fields = vars(identity) | {name: entry[name] for name in ("laterality", "echo", "part", "insisted")}
    fields |= {name: tuple(entry[name]) for name in ("problems", "notes")}
    files = tuple(folder / file for file in entry.get("files", ()))
    places = tuple((file, number) for file, number in entry.get("places", ()))
    series = Series(**fields, folder=folder, files=files, places=places)
    return _found(series, first, entry["slices"], "files" not in entry)
