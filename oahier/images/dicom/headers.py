"""Headers of the slices of a DICOM file, read without the pixels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahier.images.dicom.header_faults import HeaderFault
from oahier.images.dicom.sides import Side, told_side
from oahier.images.dicom.sides import side_in_words as side_in_words

BIG_ENDIAN, DEFLATED, RLE = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN)
"""Transfer syntaxes, by their UID; the plain ones hold pixels as they are."""

_DIRECTORY = "1.2.840.10008.1.3.10"
"""Kind of the directory of a disk, which may have another name than DICOMDIR."""

_NAMES = {
    "patient": "PatientID",
    "study_date": "StudyDate",
    "study_uid": "StudyInstanceUID",
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "manufacturer": "Manufacturer",
    "body_part": "BodyPartExamined",
    "modality": "Modality",
}
_SIDES = ("Laterality", "ImageLaterality", "FrameLaterality")
_SIDE_WORDS = ("SeriesDescription", "ProtocolName", "BodyPartExamined", "StudyDescription")
_TAGS = [
    *_NAMES.values(),
    *_SIDES,
    *("SOPClassUID", "SeriesInstanceUID", "ImageType", "SOPInstanceUID"),
    *("AcquisitionNumber", "EchoNumbers", "EchoTime", "TemporalPositionIdentifier"),
    *(
        "TriggerTime",
        "InstanceNumber",
        "ImagesInAcquisition",
        "ImagePositionPatient",
        "ImageOrientationPatient",
    ),
    *("PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "SpecificCharacterSet", "StudyDescription"),
    "BitsAllocated",
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


class NoImage(Exception):
    """A DICOM file without pixels: a report, a directory of a disk."""


class NoDicom(NoImage):
    """Another kind of file."""


@dataclass(frozen=True)
class Identity:
    """What all slices of a series share."""

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
        shape: rows and columns.
        position: centre of the first pixel in millimetres to left, posterior, superior.
        orientation: directions of a row (growing column) and of a column (growing row), in the same axes.
        spacing: millimetres between rows, between columns.
        distance: millimetres between slices that the header announces.
        thickness: of the slice in millimetres.
        instance: InstanceNumber.
        announced: ImagesInAcquisition of an original image.
        parts: what tells volumes of a series apart: echo, time, acquisition, image type.
        sample: samples per pixel and their photometric interpretation.
        two_sides: the fault of a header that tells two sides, empty if it does not.
    """

    path: Path
    frame: int
    frames: int
    identity: Identity
    shape: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    distance: float | None
    thickness: float | None
    instance: int | None
    announced: int | None
    parts: tuple[tuple[str, str], ...]
    sample: tuple[int, str]
    two_sides: str


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

    with path.open("rb") as stream:
        start = stream.read(132)
    marked = start[128:] == b"DICM"
    if not marked and not (start[:2] == b"\x08\x00" and start[3:4] == b"\x00" and len(start) == 132):
        raise NoDicom  # neither the mark, nor group 8 at the start of a file without preamble
    with quietly():
        with path.open("rb") as stream:
            data = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
            left = path.stat().st_size - stream.tell()
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
        _check_pixels(data, left, frames)
        return [_slice(path, data, number, frames) for number in range(frames)]


def _check_no_image(data: Any) -> None:
    """A report has no pixels; an image that has none was cut off."""
    from pydicom.uid import UID

    kinds = {_text(data.get("SOPClassUID")), _text(data.file_meta.get("MediaStorageSOPClassUID"))} - {""}
    if len(kinds) != 1 or any("Image Storage" in UID(kind).name for kind in kinds):
        raise HeaderFault("its header ends before Rows and Columns")


def _check_pixels(data: Any, left: int, frames: int) -> None:
    """Compare the bytes behind the header with what the pixels need, as far as they are not compressed."""
    syntax = str(data.file_meta.get("TransferSyntaxUID", PLAIN[0]))
    needed = int(data.Rows) * int(data.Columns) * frames * (int(data.get("BitsAllocated") or 8) // 8)
    mark = 8 if syntax == PLAIN[0] else 12  # tag, type and length of the pixels
    needed = mark + (needed if syntax in PLAIN else 1)
    if left < needed and syntax != DEFLATED:
        raise HeaderFault(f"{left} bytes behind the header, expected {needed} or more of pixels")


def _slice(path: Path, data: Any, number: int, frames: int) -> Slice:
    place = _Groups(data, number)
    instance = _whole(data.get("InstanceNumber"))
    original = str((_texts(data.get("ImageType")) or [""])[0]) == "ORIGINAL"
    orientation = _numbers(place.get("ImageOrientationPatient"), 6)
    identity, two_sides = _identity(data, place)
    return Slice(
        path=path,
        frame=number,
        frames=frames,
        identity=identity,
        shape=(int(data.Rows), int(data.Columns)),
        position=_numbers(place.get("ImagePositionPatient"), 3),
        orientation=orientation,
        spacing=_numbers(place.get("PixelSpacing"), 2),
        distance=_number(place.get("SpacingBetweenSlices")),
        thickness=_number(place.get("SliceThickness")),
        instance=instance if frames == 1 else number + 1,
        announced=_whole(data.get("ImagesInAcquisition")) if original else None,
        parts=_parts(data, place),
        sample=(int(data.get("SamplesPerPixel") or 1), _text(data.get("PhotometricInterpretation"))),
        two_sides=two_sides,
    )


class _Groups:
    """Elements of one frame: its own functional groups, those of all frames, then the file's."""

    def __init__(self, data: Any, number: int) -> None:
        per_frame = data.get("PerFrameFunctionalGroupsSequence") or []
        shared = data.get("SharedFunctionalGroupsSequence") or []
        own = [per_frame[number]] if number < len(per_frame) else []
        self._groups = [
            item
            for group in (*own, *shared[:1])
            for element in group
            if element.VR == "SQ"
            for item in element.value
        ]
        self._data = data

    def get(self, name: str) -> Any:
        for group in (*self._groups, self._data):
            if name in group:
                return group.get(name)
        return None


def _identity(data: Any, place: _Groups) -> tuple[Identity, str]:
    """Who and what it is of, and the fault of two sides."""
    words = {field: _text(data.get(name)) for field, name in _NAMES.items()}
    elements = {name: _text(place.get(name)) for name in _SIDES}
    side, fault = told_side(elements, {name: _text(data.get(name)) for name in _SIDE_WORDS})
    return Identity(uid=_text(data.get("SeriesInstanceUID")), laterality=side, **words), fault


def _parts(data: Any, place: _Groups) -> tuple[tuple[str, str], ...]:
    echo = _text(data.get("EchoNumbers"))
    kinds = _texts(place.get("FrameType")) or _texts(data.get("ImageType"))
    return (
        ("echo", echo),
        ("echo time", _text(place.get("EffectiveEchoTime")) or _text(place.get("EchoTime"))),
        (
            "temporal position",
            _text(place.get("TemporalPositionIdentifier") or place.get("TemporalPositionIndex")),
        ),
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
    return None if value is None or _text(value) == "" else int(float(_text(value)))


def _number(value: Any) -> float | None:
    return None if value is None or _text(value) == "" else float(_text(value))


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) == 0:
        return None
    numbers = tuple(float(part) for part in value)
    if len(numbers) != count:
        raise HeaderFault(f"expected {count} numbers, got {len(numbers)}")
    return numbers
