"""DICOM series: found in folders, judged by their headers, read as volumes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from oahier.images.dicom import pixels
from oahier.images.dicom.faults import faults_of, with_advice
from oahier.images.dicom.headers import NoDicom, NoImage, Slice, read_slices
from oahier.images.dicom.series import (
    Series,
    by_uid,
    damaged_series,
    first_of_each,
    make_series,
    reread,
    split_volumes,
    without_copies,
)
from oahier.images.dicom.sides import Side
from oahier.images.dicom.walk import files_in
from oahier.images.dicom.zipped import unzipped
from oahier.images.errors import FORCED, UnreadableImage, fault_words
from oahier.images.grid import Affine
from oahier.images.image import Image, three_axes, turned_to_ras

__all__ = [
    "Series",
    "find_series",
    "header_side",
    "read_series",
    "read_single",
    "series_faults",
    "series_of",
    "single_series",
]


def find_series(folder: Path, *, recursive: bool = True, insist: Collection[str] = ()) -> list[Series]:
    """All series below a folder, from their headers; other files are passed over.

    Args:
        folder: the top of a tree; links to folders are not followed, nor links out of the tree.
        recursive: also look into the folders in it.
        insist: kinds of problems in spite of which series are read, among those of
            :data:`~oahier.images.dicom.faults.INSIST`: of differing ``copies`` of a slice the first is read,
            ``gaps`` are evened out, other values of ``modality`` and ``numbers`` are borne.

    Returns:
        series sorted by folder, description and part; broken ones too, with their ``problems``. Damaged
        files in a folder without a sound one are a series without slices.

    Raises:
        UnreadableImage: no such folder, or a folder that cannot be listed.
    """
    return series_of(files_in(folder, recursive=recursive), insist=insist)


def series_of(files: Iterable[Path], uid: str | None = None, insist: Collection[str] = ()) -> list[Series]:
    """All series of some files, as :func:`find_series` gives them.

    Args:
        files: whole folders, as a damaged file is a fault of the series in its folder.
        uid: SeriesInstanceUID of the series that are wanted, all of them when not given.
        insist: as for :func:`find_series`.
    """
    slices, broken = _headers(files)
    groups = by_uid(one for one in slices if uid is None or one.identity.uid == uid)
    series = [one for group in groups for one in _volumes(group, broken, insist)]
    if uid is None:
        series += _only_damaged(slices, broken)
    return sorted(series, key=lambda one: (str(one.folder), one.description, one.uid, one.part))


def series_faults(series: Series) -> list[str]:
    """Why a series is no volume: missing, doubled, uneven or differing slices, not MR; empty if it is one."""
    return list(series.problems)


def read_series(series: Series) -> Image:
    """Read the voxels of a series without faults; slices are ordered along their normal.

    Raises:
        UnreadableImage: the series has faults, or a file is damaged.
    """
    where = _where(series)
    if series.problems:
        why = with_advice(series.problems)
        raise UnreadableImage(f"{where}: {series} is no volume: {why}")
    slices = reread(series)
    data = pixels.stack(slices)
    three_axes(where, data.shape)
    return turned_to_ras(where, data, _affine(where, slices), series.notes)


def read_single(path: Path, insist: Collection[str] = ()) -> Image:
    """Read a folder with exactly one series (not looking into its folders), or a file of many frames.

    Of a zip archive all folders are looked into.

    Raises:
        UnreadableImage: none or several series, or one with faults.
    """
    if path.suffix.lower() == ".zip" and path.is_file():
        with unzipped(path) as folder:
            return read_series(_single(path, find_series(folder, insist=insist)))
    return read_series(single_series(path, insist))


def single_series(path: Path, insist: Collection[str] = ()) -> Series:
    """The one series of a folder (not looking into its folders), or of a file of many frames.

    Raises:
        UnreadableImage: none or several series.
    """
    found = (
        find_series(path, recursive=False, insist=insist)
        if path.is_dir()
        else series_of([path], insist=insist)
    )
    return _single(path, found)


def _single(path: Path, found: Sequence[Series]) -> Series:
    if not found:
        raise UnreadableImage(f"{path}: expected a folder with one DICOM series, got 0; no DICOM image in it")
    if len(found) > 1:
        listed = "".join(f"\n  {number}: {series}" for number, series in enumerate(found))
        raise UnreadableImage(
            f"{path}: expected a folder with one DICOM series, got {len(found)}; keep one series per folder, "
            f"or choose with read_series(find_series(folder)[number]):{listed}"
        )
    if len(found[0].files) == len(found[0].places) == 1 and found[0].files[0] == path:
        raise UnreadableImage(f"{path}: expected a volume, got one slice of a DICOM series; give its folder")
    return found[0]


def header_side(source: Path | Series) -> Side:
    """``"left"`` or ``"right"`` as the DICOM header says, ``""`` if it does not or the path is no DICOM.

    Laterality, ImageLaterality and FrameLaterality tell it, and the words right and left in the descriptions
    of the series, the protocol, the body part and the study; where they name two sides, it is ``""``.
    """
    if isinstance(source, Series):
        return source.laterality
    try:
        found = find_series(source, recursive=False) if source.is_dir() else series_of([source])
    except UnreadableImage:
        return ""
    sides = {series.laterality for series in found}
    return sides.pop() if len(sides) == 1 else ""


def _headers(files: Iterable[Path]) -> tuple[list[Slice], dict[Path, str]]:
    """All slices, and the files that are damaged, each with the reason."""
    slices: list[Slice] = []
    broken: dict[Path, str] = {}
    others: list[Path] = []
    alike: list[Path] = []
    for file in files:
        try:
            slices += read_slices(file)
        except NoDicom:
            others.append(file)
        except NoImage:
            continue
        except Exception as error:  # pydicom raises many kinds for damaged files
            broken[file] = fault_words(error)
            alike += [] if isinstance(error, OSError) else [file]
    names = {(file.parent, _pattern(file)) for file in (*alike, *(slice_.path for slice_ in slices))}
    for file in others:
        if (file.parent, _pattern(file)) in names:
            broken[file] = "it has no mark of DICOM, but a name as its neighbours"
    return slices, broken


def _pattern(file: Path) -> str:
    """The name with every number as ``0``, by which a slice that became empty is told from a note."""
    return re.sub(r"\d+", "0", file.name)


def _volumes(group: list[Slice], broken: dict[Path, str], insist: Collection[str]) -> list[Series]:
    folders = {slice_.path.parent for slice_ in group}
    damaged = [
        f"{file.name} is a damaged DICOM file that may belong here: {why}"
        for file, why in broken.items()
        if file.parent in folders
    ]
    group, copies = without_copies(group)
    found = []
    for part, slices in split_volumes(group):
        first = first_of_each(slices) if "copies" in insist else slices
        faults, notes = faults_of(first, first if len(first) < len(slices) else group, insist)
        if less := len(slices) - len(first):
            notes.append(f"{FORCED} {less} positions occur more than once: the first slice at each was read")
        forced = any(note.startswith(FORCED) for note in notes)
        found.append(make_series(first, part, [*faults, *damaged], [*copies, *notes], insisted=forced))
    return found


def _only_damaged(slices: list[Slice], broken: dict[Path, str]) -> list[Series]:
    """Damaged files in folders without a sound slice, a series for each folder."""
    sound = {slice_.path.parent for slice_ in slices}
    folders: dict[Path, dict[Path, str]] = {}
    for file, why in broken.items():
        if file.parent not in sound:
            folders.setdefault(file.parent, {})[file] = why
    return [damaged_series(folder, files) for folder, files in folders.items()]


def _where(series: Series) -> Path:
    return series.files[0] if len(series.files) == 1 else series.folder


def _affine(where: Path, slices: Sequence[Slice]) -> Affine:
    """Column, row and slice to millimetres RAS+; the third axis leads from the first to the last slice."""
    first, last = slices[0], slices[-1]
    if first.position is None or last.position is None or first.orientation is None or first.spacing is None:
        raise UnreadableImage(f"{where}: slices without position, orientation or spacing")
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = (np.array(last.position) - np.array(first.position)) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
