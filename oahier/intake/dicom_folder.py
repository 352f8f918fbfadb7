"""Series of one folder, from the headers of all files or from the record of an earlier scan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahier.images.dicom import Series, series_of
from oahier.images.dicom.headers import Identity, read_slices
from oahier.images.dicom.walk import list_folder


@dataclass(frozen=True)
class FoundSeries(Series):
    """A series of a tree that is scanned, without its files and slices.

    Args:
        first: file of its first slice.
        count: number of its slices, 0 for damaged files in a folder without a sound one.
        shared: the series with its files where its folder holds other series too, or where it lies in several
            folders; ``None`` where reading the folder is enough.
    """

    first: Path
    count: int
    shared: Series | None


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
    """

    source: Path
    path: str
    folders: tuple[Path, ...]
    state: str
    uid: str | None = None
    known: dict[str, Any] | None = None


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
            return look_into(FolderJob(job.source, job.path, job.folders, job.state, job.uid))
    files = [file for folder in job.folders for file in list_folder(folder).files]
    series = [one.without_slices() for one in series_of(files, job.uid)]
    alone = len(series) == 1 and len(job.folders) == 1
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
        "folder": series.folder.relative_to(source).as_posix(), "first": [names[number], frame],
        "slices": len(series.places), "laterality": series.laterality, "echo": series.echo,
        "part": series.part, "problems": series.problems, "notes": series.notes,
    }  # fmt: skip
    return entry if alone else entry | {"files": names, "places": _runs(series.places)}


def _remembered(source: Path, entry: dict[str, Any]) -> FoundSeries:
    folder, (name, frame) = source / entry["folder"], entry["first"]
    first = folder / name
    identity = read_slices(first)[frame].identity if entry["slices"] else Identity("")
    fields = vars(identity) | {name: entry[name] for name in ("laterality", "echo", "part")}
    fields |= {name: tuple(entry[name]) for name in ("problems", "notes")}
    files = tuple(folder / file for file in entry.get("files", ()))
    places = tuple(_places(entry.get("places", ())))
    series = Series(**fields, folder=folder, files=files, places=places, slices=())
    return _found(series, first, entry["slices"], "files" not in entry)


def _runs(places: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Places of slices as ``[file, frame, count]``: the same frame of ``count`` files, one after the other.

    >>> _runs([(0, 0), (1, 0), (2, 0), (2, 1)])
    [[0, 0, 3], [2, 1, 1]]
    """
    runs: list[list[int]] = []
    for file, frame in places:
        if runs and [runs[-1][0] + runs[-1][2], runs[-1][1]] == [file, frame]:
            runs[-1][2] += 1
        else:
            runs.append([file, frame, 1])
    return runs


def _places(runs: Iterable[Iterable[int]]) -> list[tuple[int, int]]:
    """The inverse.

    >>> _places([[0, 0, 3], [2, 1, 1]])
    [(0, 0), (1, 0), (2, 0), (2, 1)]
    """
    return [(file + step, frame) for file, frame, count in runs for step in range(count)]
