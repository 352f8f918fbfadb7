"""Headers of the slices of a DICOM file, read without the pixels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from oahier.images.dicom.sides import Side, told_side
from oahier.images.dicom.sides import side_in_words as side_in_words
from oahier.images.errors import HeaderFault

BIG_ENDIAN, DEFLATED, RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN)
"""Transfer syntaxes, by their UID; the plain ones hold pixels as they are."""
_DIRECTORY = "1.2.840.10008.1.3.10"
"""Kind of the directory of a disk, which may have another name than DICOMDIR."""

_NAMES = {
    "uid": "SeriesInstanceUID", "study_uid": "StudyInstanceUID", "patient": "PatientID",
    "study_date": "StudyDate", "description": "SeriesDescription", "protocol": "ProtocolName",
    "manufacturer": "Manufacturer", "body_part": "BodyPartExamined", "modality": "Modality",
}  # fmt: skip
_SIDES = ("Laterality", "ImageLaterality", "FrameLaterality")
_SIDE_WORDS = ("SeriesDescription", "ProtocolName", "BodyPartExamined", "StudyDescription")
_DECIMALS = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "EchoTime",
)  # fmt: skip
"""Elements that some software writes with a decimal comma."""
_TAGS = [
    *_NAMES.values(), *_SIDES, *_SIDE_WORDS, *_DECIMALS, "SOPClassUID", "SOPInstanceUID", "ImageType",
    "AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier", "TriggerTime", "InstanceNumber",
    "ImagesInAcquisition", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "SpecificCharacterSet", "BitsAllocated", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


class NoImage(Exception):
    """A DICOM file without pixels: a report, a directory of a disk."""


class NoDicom(NoImage):
    """Another kind of file."""


@dataclass(frozen=True)
class Identity:
    """What all slices of a series share.

    Args:
        uid: SeriesInstanceUID.
        study_uid: StudyInstanceUID.
        patient: PatientID.
        study_date: ``YYYYMMDD``.
        description: SeriesDescription.
        protocol: ProtocolName.
        manufacturer: of the scanner.
        body_part: BodyPartExamined.
        modality: ``"MR"`` for magnetic resonance.
        laterality: ``"left"``, ``"right"`` or ``""``, as elements and words of the header agree.
    """

    uid: str
    study_uid: str = ""
    patient: str = ""
    study_date: str = ""
    description: str = ""
    protocol: str = ""
    manufacturer: str = ""
    body_part: str = ""
    modality: str = ""
    laterality: Side = ""


@dataclass(frozen=True)
class Slice:
    """One slice: a file, or a frame of it.

    Args:
        path: the file.
        frame: position in the file, from 0.
        frames: frames of the file.
        identity: of its series.
        instance_uid: SOPInstanceUID, which copies of a file share.
        shape: rows and columns.
        position: centre of the first pixel in millimetres to left, posterior, superior.
        orientation: directions of a row (growing column) and of a column (growing row), in the same axes.
        spacing: millimetres between rows, between columns.
        distance: millimetres between slices that the header announces.
        thickness: of the slice in millimetres.
        rescale: slope and intercept that make voxels of stored pixels.
        instance: InstanceNumber.
        announced: ImagesInAcquisition of an original image.
        parts: what tells volumes of a series apart: echo, time, acquisition, image type.
        sample: samples per pixel and their photometric interpretation.
        two_sides: the fault of a header that tells two sides, empty if it does not.
        notes: what bends the standard and was read nevertheless.
    """

    path: Path
    frame: int
    frames: int
    identity: Identity
    instance_uid: str
    shape: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    distance: float | None
    thickness: float | None
    rescale: tuple[float, float]
    instance: int | None
    announced: int | None
    parts: tuple[tuple[str, str], ...]
    sample: tuple[int, str]
    two_sides: str
    notes: tuple[str, ...]


@contextmanager
def quietly() -> Iterator[None]:
    """Neither warnings nor log lines of pydicom, which tells of every value that bends the standard."""
    logger = logging.getLogger("pydicom")
    was = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was


def read_slices(path: Path) -> list[Slice]:
    """The slices of a file.

    Raises:
        NoDicom: no DICOM file.
        NoImage: one without pixels (a report, a directory of a disk).
        Exception: a DICOM file that is damaged; pydicom raises many kinds.
    """
    import pydicom

    with path.open("rb") as stream, quietly():
        start = stream.read(132)
        marked = start[128:] == b"DICM"
        if not marked and not (start[:2] == b"\x08\x00" and start[3:4] == b"\x00" and len(start) == 132):
            raise NoDicom  # neither the mark, nor group 8 at the start of a file without preamble
        stream.seek(0)
        data = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
        if "SOPClassUID" not in data and "Rows" not in data:
            if not marked:
                raise NoDicom
            if _text(data.file_meta.get("MediaStorageSOPClassUID")) == _DIRECTORY:
                raise NoImage
            raise HeaderFault("neither SOPClassUID nor Rows in its header")
        if "Rows" not in data or "Columns" not in data:
            _check_no_image(data)
            raise NoImage
        frames = max(1, int(data.get("NumberOfFrames") or 1))
        if frames > 1 << 16:
            raise HeaderFault(f"{frames} frames")
        padded = _padding(data, stream, path.stat().st_size, frames)
        return [_slice(path, data, number, frames, padded) for number in range(frames)]


def _check_no_image(data: Any) -> None:
    """A report has no pixels; an image that has none was cut off."""
    from pydicom.uid import UID

    kinds = {_text(data.get("SOPClassUID")), _text(data.file_meta.get("MediaStorageSOPClassUID"))} - {""}
    if len(kinds) != 1 or any("Image Storage" in UID(kind).name for kind in kinds):
        raise HeaderFault("its header ends before Rows and Columns")


def _padding(data: Any, stream: BinaryIO, size: int, frames: int) -> int:
    """Bytes behind plain pixels that no frame needs; too few of them are a fault."""
    syntax = str(data.file_meta.get("TransferSyntaxUID", PLAIN[0]))
    if syntax == DEFLATED:
        return 0
    implicit, little = data.original_encoding
    left, mark = size - stream.tell(), 8 if implicit else 12  # tag, type and length of the pixels
    frame = int(data.Rows) * int(data.Columns) * (int(data.get("BitsAllocated") or 8) // 8)
    needed = frame * frames if syntax in PLAIN else 1
    length = int.from_bytes(stream.read(mark)[-4:], "little" if little else "big")
    held = min(length, left - mark)
    if held < needed:
        raise HeaderFault(f"{left} bytes behind the header, expected {mark + needed} or more of pixels")
    if syntax not in PLAIN:
        return 0
    if held >= needed + max(frame, 2):
        raise HeaderFault(f"{held} bytes of pixels, expected {needed} for {frames} frames of {frame}")
    return held - needed - needed % 2


def _slice(path: Path, data: Any, number: int, frames: int, padded: int) -> Slice:
    place = _Elements(data, number)
    if padded > 0:
        place.notes["pixel data is longer than its rows and columns need"] = None
    words = {field: _text(data.get(name)) for field, name in _NAMES.items()}
    elements = {name: _text(place.get(name)) for name in _SIDES}
    side, two_sides = told_side(elements, {name: _text(data.get(name)) for name in _SIDE_WORDS})
    slope, intercept = place.decimals("RescaleSlope", 1), place.decimals("RescaleIntercept", 1)
    original = _texts(data.get("ImageType"))[:1] == ["ORIGINAL"]
    return Slice(
        path=path,
        frame=number,
        frames=frames,
        identity=Identity(laterality=side, **words),
        instance_uid=_text(data.get("SOPInstanceUID")),
        shape=(int(data.Rows), int(data.Columns)),
        position=place.decimals("ImagePositionPatient", 3),
        orientation=place.decimals("ImageOrientationPatient", 6),
        spacing=place.decimals("PixelSpacing", 2),
        distance=place.number("SpacingBetweenSlices"),
        thickness=place.number("SliceThickness"),
        rescale=(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0),
        instance=_whole(data.get("InstanceNumber")) if frames == 1 else number + 1,
        announced=_whole(data.get("ImagesInAcquisition")) if original else None,
        parts=_parts(data, place),
        sample=(int(data.get("SamplesPerPixel") or 1), _text(data.get("PhotometricInterpretation"))),
        two_sides=two_sides,
        notes=tuple(place.notes),
    )


class _Elements:
    """Elements of one frame: of its own functional groups, those of all frames, then the file's."""

    def __init__(self, data: Any, number: int) -> None:
        own = (data.get("PerFrameFunctionalGroupsSequence") or [])[number : number + 1]
        shared = (data.get("SharedFunctionalGroupsSequence") or [])[:1]
        groups = (element for group in (*own, *shared) for element in group if element.VR == "SQ")
        self._groups = [*(item for group in groups for item in group.value), data]
        self.notes: dict[str, None] = {}

    def get(self, name: str) -> Any:
        return next((group[name].value for group in self._groups if name in group), None)

    def decimals(self, name: str, count: int) -> tuple[float, ...] | None:
        """So many decimal numbers, ``None`` if the element is missing or empty; a decimal comma is noted."""
        group = next((group for group in self._groups if name in group), None)
        if group is None:
            return None
        raw = group.get_item(name)
        if isinstance(raw.value, bytes) and b"," in raw.value:
            group[raw.tag] = raw._replace(value=raw.value.replace(b",", b"."))
            self.notes[f"{name} has a decimal comma"] = None
        found = group[name].value
        if found and isinstance(found, (str, bytes)):
            raise HeaderFault(f"{name} is no number")
        many = () if found is None else found if hasattr(found, "__len__") else (found,)
        numbers = tuple(map(float, many))
        if numbers and len(numbers) != count:
            raise HeaderFault(f"expected {count} numbers, got {len(numbers)}")
        return numbers or None

    def number(self, name: str) -> float | None:
        """A number that no voxel depends on; one that cannot be read is passed over, which is noted."""
        try:
            found = self.decimals(name, 1)
        except ValueError:
            self.notes[f"{name} is no number and was passed over"] = None
            return None
        return found[0] if found else None


def _parts(data: Any, place: _Elements) -> tuple[tuple[str, str], ...]:
    kinds = _texts(place.get("FrameType")) or _texts(data.get("ImageType"))
    time = place.get("TemporalPositionIdentifier") or place.get("TemporalPositionIndex")
    echo_time = place.number("EffectiveEchoTime") or place.number("EchoTime")
    return (
        ("echo", _text(data.get("EchoNumbers"))),
        ("echo time", f"{echo_time:g}" if echo_time else ""),
        ("temporal position", _text(time)),
        ("trigger time", _text(place.get("TriggerTime"))),
        ("acquisition", _text(data.get("AcquisitionNumber"))),
        ("image type", "/".join(kinds)),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip().strip("\0")


def _texts(value: Any) -> list[str]:
    if value is None or isinstance(value, str):
        return [_text(value)] if value else []
    return [_text(part) for part in value]


def _whole(value: Any) -> int | None:
    return int(float(_text(value))) if _text(value) else None
