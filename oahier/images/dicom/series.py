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

from oahier.images.dicom.header_faults import fault_words
from oahier.images.dicom.headers import Identity, NoImage, Slice, read_slices
from oahier.images.dicom.sides import Side
from oahier.images.payload import damaged


@dataclass(frozen=True)
class Series:
    """One volume in DICOM files; made by :func:`find_series`.

    Where a series of DICOM holds several volumes at the same positions (echoes, time points, acquisitions),
    each is a series here, with the same ``uid`` and another ``part``. Damaged files in a folder without a
    sound one are a series as well: without ``uid`` and slices, with their problem.

    Args:
        uid: SeriesInstanceUID.
        folder: deepest folder that holds all files.
        files: sorted along the normal of the slices; one file if it holds all frames.
        patient: PatientID.
        study_date: ``YYYYMMDD``.
        study_uid: StudyInstanceUID.
        description: SeriesDescription.
        protocol: ProtocolName.
        manufacturer: of the scanner.
        laterality: ``"left"``, ``"right"`` or ``""``, as elements and words of the header agree.
        body_part: BodyPartExamined.
        modality: ``"MR"`` for magnetic resonance.
        echo: EchoNumbers, ``""`` if unknown.
        part: what tells it from the other volumes of the same ``uid``, such as ``"echo 2"``; ``""`` if alone.
        problems: why it cannot be read as one volume.
        notes: what was put right: copies of the same slice that were left out.
        places: of every slice in order the number of its file in ``files``, and its frame in that file.
        slices: every slice in order; empty where they were let go, until they are needed.
    """

    uid: str
    folder: Path
    files: tuple[Path, ...]
    patient: str
    study_date: str
    study_uid: str
    description: str
    protocol: str
    manufacturer: str
    laterality: Side
    body_part: str
    modality: str
    echo: str
    part: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    slices: tuple[Slice, ...]

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


def make_series(group: Sequence[Slice], part: str, problems: Iterable[str], notes: Iterable[str]) -> Series:
    """A series of slices that belong together, sorted along their normal."""
    slices = along_normal(group)
    files = tuple(dict.fromkeys(slice_.path for slice_ in slices))
    numbers = {file: number for number, file in enumerate(files)}
    identity = slices[0].identity
    echoes = {dict(slice_.parts)["echo"] for slice_ in slices}
    return Series(
        **{name: getattr(identity, name) for name in Identity.__dataclass_fields__ if name != "laterality"},
        laterality=_shared_side(slices),
        folder=Path(os.path.commonpath([file.parent for file in files])),
        files=files,
        echo=echoes.pop() if len(echoes) == 1 else "",
        part=part,
        problems=tuple(problems),
        notes=tuple(notes),
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
    return Series(
        **dict.fromkeys(Identity.__dataclass_fields__, ""),
        folder=folder,
        files=tuple(sorted(broken)),
        echo="",
        part="",
        problems=(problem,),
        notes=(),
        places=(),
        slices=(),
    )


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
    """Slices without files that are byte for byte the same as another at the same position."""
    places: dict[object, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        places[(slice_.position, slice_.frame, slice_.parts)].append(slice_)
    copies: set[Path] = set()
    for group in places.values():
        if len(group) > 1 and group[0].frame == 0:
            seen: set[bytes] = set()
            for slice_ in sorted(group, key=lambda one: str(one.path)):
                content = slice_.path.read_bytes()
                if content in seen:
                    copies.add(slice_.path)
                seen.add(content)
    kept = [slice_ for slice_ in slices if slice_.path not in copies]
    note = (
        f"{len(copies)} files that are copies of others were left out, such as {min(copies).name}"
        if copies
        else ""
    )
    return kept, [note] if note else []


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
