"""Slices grouped into volumes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from oahier.images.dicom import pixels
from oahier.images.dicom.headers import Identity, NoImage, Slice, read_slices
from oahier.images.dicom.sides import Side
from oahier.images.errors import UnreadableImage, fault_words
from oahier.images.payload import damaged


@dataclass(frozen=True, kw_only=True)
class Series(Identity):
    """One volume in DICOM files; made by :func:`find_series`.

    Where a series of DICOM holds several volumes at the same positions (echoes, time points, acquisitions),
    each is a series here, with the same ``uid`` and another ``part``. Damaged files in a folder without a
    sound one are a series as well: without ``uid`` and slices, with their problem.

    Args:
        folder: deepest folder that holds all files.
        files: sorted along the normal of the slices; one file if it holds all frames.
        echo: EchoNumbers, ``""`` if unknown.
        part: what tells it from the other volumes of the same ``uid``, such as ``"echo 2"``; ``""`` if alone.
        problems: why it cannot be read as one volume.
        notes: what was put right, or bends the standard and was read nevertheless.
        insisted: it is read in spite of a problem, which the notes tell.
        places: of every slice in order the number of its file in ``files``, and its frame in that file.
        slices: every slice in order; empty where they were let go, until they are needed.
    """

    folder: Path
    files: tuple[Path, ...]
    echo: str = ""
    part: str = ""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    insisted: bool = False
    places: tuple[tuple[int, int], ...] = ()
    slices: tuple[Slice, ...] = ()

    def __str__(self) -> str:
        return f"series ({self.title}; {len(self.places)} slices in {self.folder})"

    @property
    def title(self) -> str:
        """Description and part, which tell it from most of the series in its folder."""
        words = [self.description or self.protocol or "no description", self.part]
        return ", ".join(word for word in words if word)

    def without_slices(self) -> Series:
        """The same without what the headers say of each slice, which :func:`reread` reads again."""
        return replace(self, slices=())


def make_series(
    group: Sequence[Slice],
    part: str,
    problems: Iterable[str],
    notes: Iterable[str],
    *,
    insisted: bool = False,
) -> Series:
    """A series of slices that belong together, sorted along their normal."""
    slices = along_normal(group)
    files = tuple(dict.fromkeys(slice_.path for slice_ in slices))
    numbers = {file: number for number, file in enumerate(files)}
    echoes = {dict(slice_.parts)["echo"] for slice_ in slices}
    return Series(
        **vars(slices[0].identity) | {"laterality": _shared_side(slices)},
        folder=Path(os.path.commonpath([file.parent for file in files])),
        files=files,
        echo=echoes.pop() if len(echoes) == 1 else "",
        part=part,
        problems=tuple(problems),
        notes=tuple(notes),
        insisted=insisted,
        places=tuple((numbers[slice_.path], slice_.frame) for slice_ in slices),
        slices=slices,
    )


def damaged_series(folder: Path, broken: Mapping[Path, str]) -> Series:
    """A series of files of which none can be read.

    Args:
        folder: that holds them.
        broken: what is wrong with each file.
    """
    file, why = min(broken.items())
    problem = (
        f"{len(broken)} damaged DICOM files and no sound one in this folder, such as {file.name}: {why}; "
        "copy or export them again"
    )
    return Series("", folder=folder, files=tuple(sorted(broken)), problems=(problem,))


def reread(series: Series) -> tuple[Slice, ...]:
    """The slices of a series, from the headers of its files unless they are known.

    Raises:
        UnreadableImage: a file is damaged, or another one than when the series was found.
    """
    if series.slices:
        return series.slices
    frames = {}
    for file in series.files:
        try:
            frames[file] = read_slices(file)
        except NoImage as error:
            raise damaged(file, "it is no DICOM image any more") from error
        except Exception as error:  # pydicom raises many kinds for damaged files
            raise damaged(file, fault_words(error)) from error
    slices = []
    for number, frame in series.places:
        file = series.files[number]
        if frame >= len(frames[file]) or frames[file][frame].identity.uid != series.uid:
            raise damaged(file, "it was replaced by another series since it was found; run again")
        slices.append(frames[file][frame])
    return tuple(slices)


def _shared_side(slices: Sequence[Slice]) -> Side:
    sides = {"" if slice_.two_sides else slice_.identity.laterality for slice_ in slices}
    return sides.pop() if len(sides) == 1 else ""


def normal_of(slice_: Slice) -> Float64[np.ndarray, "3"] | None:
    """Unit vector across the slice, towards left, posterior, superior; ``None`` without orientation."""
    if slice_.orientation is None:
        return None
    normal = np.cross(slice_.orientation[:3], slice_.orientation[3:])
    length = np.linalg.norm(normal)
    return np.asarray(normal / length, dtype=np.float64) if np.isfinite(length) and length > 0.5 else None


def along_normal(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """Slices by their place along the normal, by instance number where there is none; never by file name."""
    normal = normal_of(slices[0])

    def key(slice_: Slice) -> tuple[float, int, str, int]:
        placed = normal is not None and slice_.position is not None
        place = round(float(np.dot(normal, slice_.position)), 4) if placed else 0.0  # type: ignore[arg-type]
        return place, slice_.instance or 0, str(slice_.path), slice_.frame

    return tuple(sorted(slices, key=key))


def by_uid(slices: Iterable[Slice]) -> list[list[Slice]]:
    """Slices of each SeriesInstanceUID, in order of appearance."""
    groups: dict[str, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        groups[slice_.identity.uid].append(slice_)
    return list(groups.values())


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """Slices without files that hold the same as another: the same pixels at the same positions.

    Files may differ otherwise: by another writer, transfer syntax, or element that was rewritten.
    """
    files: dict[Path, list[Slice]] = defaultdict(list)
    for slice_ in sorted(slices, key=lambda one: (str(one.path), one.frame)):
        files[slice_.path].append(slice_)
    alike: dict[object, list[Path]] = defaultdict(list)
    for path, frames in files.items():
        if all(
            one.position is not None for one in frames
        ):  # ultrasound and the like have none, and are large
            alike[tuple(map(_place, frames))].append(path)
    doubled = [one for group in alike.values() if len(group) > 1 for path in group for one in files[path]]
    if not _repeated(doubled):
        return list(slices), []
    try:
        found = pixels.hashes(doubled)
    except UnreadableImage:  # they stay, and are a fault
        return list(slices), []
    copies: set[Path] = set()
    seen: set[object] = set()
    for path in (path for group in alike.values() if len(group) > 1 for path in group):
        first = files[path][0]
        keys = {(_place(first), found[path], key) for key in (first.instance_uid, first.parts) if key}
        if keys & seen:
            copies.add(path)
        seen |= keys
    if not copies:
        return list(slices), []
    note = f"{len(copies)} files that are copies of others were left out, such as {min(copies).name}"
    return [slice_ for slice_ in slices if slice_.path not in copies], [note]


def first_of_each(slices: Sequence[Slice]) -> list[Slice]:
    """The first slice by number and name at each position."""
    if any(one.position is None for one in slices):
        return list(slices)
    return list({_place(one): one for one in reversed(along_normal(slices))}.values())


def _repeated(slices: Sequence[Slice]) -> bool:
    """True if two files at one position share their SOPInstanceUID, or all that tells volumes apart."""
    one_of_each = {slice_.path: slice_ for slice_ in slices}.values()
    by_instance = {(_place(one), one.instance_uid) for one in one_of_each}
    by_parts = {(_place(one), one.parts) for one in one_of_each}
    return min(len(by_instance), len(by_parts)) < len(one_of_each)


def split_volumes(slices: Sequence[Slice]) -> list[tuple[str, list[Slice]]]:
    """Volumes that lie at the same positions, each with the words that tell it from the others.

    The fewest properties (echo, time, acquisition, image type) that give groups with the same positions and
    no position twice; one group if there are none.
    """
    if len({_place(slice_) for slice_ in slices}) == len(slices) or any(s.position is None for s in slices):
        return [("", list(slices))]
    names = [name for name, _ in slices[0].parts if len({dict(slice_.parts)[name] for slice_ in slices}) > 1]
    for count in range(1, len(names) + 1):
        for chosen in combinations(names, count):
            groups = _grouped(slices, chosen)
            places = [frozenset(map(_place, group)) for group in groups.values()]
            if len(set(places)) == 1 and all(len(g) == len(places[0]) for g in groups.values()):
                return [(words, groups[words]) for words in groups]
    return [("", list(slices))]


def _grouped(slices: Sequence[Slice], names: Sequence[str]) -> dict[str, list[Slice]]:
    groups: dict[str, list[Slice]] = defaultdict(list)
    for slice_ in sorted(slices, key=lambda one: (one.instance or 0, one.frame)):
        values = dict(slice_.parts)
        groups[", ".join(f"{name} {values[name] or 'unknown'}" for name in names)].append(slice_)
    return groups


def _place(slice_: Slice) -> tuple[object, ...]:
    """Position and direction, to a hundredth of a millimetre."""
    position = None if slice_.position is None else tuple(round(value, 2) + 0.0 for value in slice_.position)
    normal = normal_of(slice_)
    return position, None if normal is None else tuple(round(float(value), 2) + 0.0 for value in normal)
