"""Search for series in the folders of the Osteoarthritis Initiative, by the header of one file each."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.images.dicom.headers import NoDicom, NoImage, read_slices, side_in_words
from oahier.images.errors import reason
from oahier.intake.destination import FOLDER
from oahier.intake.oai_codes import visit_of_path
from oahier.intake.oai_extracted import extracted_folders
from oahier.intake.oai_packed import ARCHIVE, first_member
from oahier.progress import progress as show

_TRIES = 3
"""Files of a folder that are opened before it is given up."""


@dataclass(frozen=True)
class SeriesFolder:
    """A folder, or an archive, that holds a series.

    Args:
        path: relative to the source, with ``/``.
        changed: time of its last change in nanoseconds.
        description: SeriesDescription, empty if no file of the folder is an image.
        protocol: ProtocolName.
        patient: PatientID.
        date: StudyDate, ``YYYYMMDD``.
        laterality: ``left``, ``right`` or empty, as the header says in its own fields, else in words.
        fault: error of its first files, empty if they can be read.
        leaf: whether it holds files and nothing else, so that while it is unchanged nothing new is in it.
    """

    path: str
    changed: int
    description: str = ""
    protocol: str = ""
    patient: str = ""
    date: str = ""
    laterality: str = ""
    fault: str = ""
    leaf: bool = False

    @property
    def packed(self) -> bool:
        """True for an archive."""
        return self.path.lower().endswith(ARCHIVE)

    @property
    def unpacked_path(self) -> str:
        """The path, without the end of an archive."""
        return self.path[: -len(ARCHIVE)] if self.packed else self.path

    @property
    def side(self) -> str:
        """The side that the description names."""
        return str(side_in_words([self.description, self.protocol]))


@dataclass(frozen=True)
class Place:
    """Subject, date of the examination and visit, as the folders above a series tell; empty if unknown."""

    subject: str = ""
    date: str = ""
    visit: str = ""


def place_of(path: Path) -> Place:
    """Read the folders of a series: ``.../00m/0.C.2/9000099/20040909/10027612``.

    >>> place_of(Path("/data/results/12m/1.C.2/9000099/20051003/10566112"))
    Place(subject='9000099', date='20051003', visit='V01')
    """
    parts = path.parts
    for number in range(len(parts) - 1, -1, -1):
        if re.fullmatch(r"\d{7}", parts[number]):
            date = parts[number + 1] if number + 1 < len(parts) else ""
            date = date if re.fullmatch(r"(19|20)\d{6}", date) else ""
            return Place(parts[number], date, visit_of_path(parts[:number]))
    return Place(visit=visit_of_path(parts))


def find_folders(source: Path, destination: Path, progress: bool) -> list[SeriesFolder]:
    """All folders and archives of a tree that hold DICOM images, by path.

    Findings are kept in the destination: a second search, or one after an interruption, opens only what is
    new, or could not be read. Links are not followed.

    Raises:
        OSError: the source cannot be listed, or the destination not written.
    """
    found: dict[str, SeriesFolder] = {}
    heading = {"importer": "oai", "source": str(source.absolute())}
    with closing(FileFacts(destination / FOLDER / "series.jsonl", heading)) as known:
        for path, changed, leaf in show(
            _places(source, destination, known), None, "looking for series", show=progress
        ):
            relative = path.relative_to(source).as_posix()
            item = _remembered(known, relative)
            if item is None or item.changed != changed or item.fault:
                item = look_at(source, path)
            found[relative] = item = replace(item, leaf=leaf)
            if asdict(item) != known.get(relative):
                known.add(relative, asdict(item))
        known.keep(found)
    return [found[name] for name in sorted(found) if found[name].description or found[name].fault]


def look_at(source: Path, path: Path) -> SeriesFolder:
    """One folder or archive of a tree."""
    changed = path.stat().st_mtime_ns
    return replace(_opened(path), path=path.relative_to(source).as_posix(), changed=changed)


def _remembered(known: FileFacts, path: str) -> SeriesFolder | None:
    record = known.get(path)
    return SeriesFolder(**record) if record else None


def _places(source: Path, destination: Path, known: FileFacts) -> Iterator[tuple[Path, int, bool]]:
    """Folders that hold files, and archives: time of the last change, and whether nothing is below."""
    own = {destination.resolve(), *extracted_folders(destination)}
    waiting = [(source, source.stat().st_mtime_ns)]
    while waiting:
        here, changed = waiting.pop()
        item = _remembered(known, here.relative_to(source).as_posix())
        if item is not None and item.changed == changed and item.leaf:
            yield here, changed, True
            continue
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise OSError(error.errno, f"cannot read {here}: {error.strerror}") from error
        files, leaf = False, True
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            path = Path(entry.path)
            if entry.is_dir():
                leaf = False
                if path.resolve() not in own:
                    waiting.append((path, entry.stat().st_mtime_ns))
            elif entry.name.lower().endswith(ARCHIVE):
                leaf = False
                yield path, entry.stat().st_mtime_ns, False
            else:
                files = True
        if files:
            yield here, changed, leaf


def _opened(path: Path) -> SeriesFolder:
    """Header of the first image of a folder or an archive."""
    if path.is_file():
        return _opened_archive(path)
    faults = []
    with os.scandir(path) as listing:
        files = sorted(Path(entry.path) for entry in listing if _may_be_slice(entry))
    for file in files[:_TRIES]:
        try:
            return _header(file)
        except NoDicom:
            continue
        except NoImage:
            return SeriesFolder("", 0)
        except Exception as error:  # pydicom raises many kinds for damaged files
            faults.append(f"{file.name}: {reason(error)}")
    return SeriesFolder("", 0, fault=faults[0] if faults else "")


def _may_be_slice(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and not entry.name.startswith(".") and not entry.name.lower().endswith(ARCHIVE)


def _opened_archive(path: Path) -> SeriesFolder:
    with tempfile.TemporaryDirectory() as folder:
        try:
            first = first_member(path, Path(folder))
        except ValueError as error:
            return SeriesFolder("", 0, fault=str(error))
        return _opened(Path(folder)) if first else SeriesFolder("", 0)


def _header(path: Path) -> SeriesFolder:
    identity = read_slices(path)[0].identity
    return SeriesFolder(
        "", 0, identity.description or "no description", identity.protocol, identity.patient,
        identity.study_date, identity.laterality,
    )  # fmt: skip
