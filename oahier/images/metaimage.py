"""MetaImage, in one file (``.mha``) or with its data beside it (``.mhd``), read without ITK.

ITK unpacks damaged compressed data to other voxels in silence; here the checksum decides.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oahier.images import payload, text_header
from oahier.images.errors import UnreadableImage, reason
from oahier.images.grid import Affine, Grid
from oahier.images.image import Image, three_axes, turned_grid

_TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_LONG": "int32",
    "MET_ULONG": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, int, int]
    affine: Affine
    dtype: np.dtype[Any]
    compressed: bool
    packed_size: int | None
    skip: int
    data_file: str


def read_metaimage(path: Path) -> Image:
    """Read a ``.mha`` or ``.mhd`` file, raw or compressed.

    Raises:
        UnreadableImage: damaged, not 3D, not one number per voxel, stored as text, or a data file that is
            missing or outside of the header's folder.
    """
    packed = payload.file_bytes(path)
    fields, end = _fields(path, packed)
    layout = _layout(path, fields)
    separate = _data_file(path, layout.data_file)
    raw = _raw(path, text_header.stored_bytes(packed, end, separate), layout)
    return text_header.image_of(path, raw, layout.dtype, layout.shape, layout.affine)


def read_metaimage_grid(path: Path) -> Grid:
    """Grid after the axes are turned to RAS+, from the header alone."""
    packed = payload.first_bytes(path, text_header.LONGEST)
    layout = _layout(path, _fields(path, packed)[0])
    return turned_grid(path, layout.shape, layout.affine)


def metaimage_data_file(path: Path, start: bytes) -> Path | None:
    """The file with the voxels, if it is another than the header's.

    Args:
        path: the header.
        start: its first bytes.

    Raises:
        UnreadableImage: damaged, or a data file that is missing or outside of the header's folder.
    """
    return _data_file(path, _fields(path, start)[0]["ElementDataFile"])


def _data_file(path: Path, name: str) -> Path | None:
    return None if name.upper() == "LOCAL" else payload.beside(path, name)


def _raw(path: Path, stored: bytes | memoryview, layout: _Layout) -> Any:
    count = math.prod(layout.shape) * layout.dtype.itemsize
    if layout.compressed:
        if layout.packed_size is not None and layout.packed_size != len(stored):
            why = f"the header announces {layout.packed_size} compressed bytes, there are {len(stored)}"
            raise payload.damaged(path, why)
        gzip = payload.is_gzip(bytes(stored[:2]))
        return payload.unpacked(path, stored, count, payload.GZIP if gzip else payload.ZLIB)
    return text_header.uncompressed(path, stored, count, layout.skip)


def _fields(path: Path, packed: bytes) -> tuple[dict[str, str], int]:
    """Fields of the header, and the byte where local data start; ``ElementDataFile`` is the last."""
    last = re.search(
        rb"^\s*ElementDataFile\s*=([^\r\n]*)(\r?\n|\r|$)", packed[: text_header.LONGEST], re.MULTILINE
    )
    if last is None:
        raise _not_meta(path, "no line 'ElementDataFile = ...' in its header")
    fields: dict[str, str] = {}
    for line in text_header.header_lines(packed[: last.end()]):
        if not line.strip():
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or (name in fields and name != "Comment") or not name.isprintable():
            raise _not_meta(path, text_header.unexpected_line(name, equals))
        fields[name] = value
    return fields, last.end()


def _layout(path: Path, fields: dict[str, str]) -> _Layout:
    _check_kind(path, fields)
    try:
        dimension = int(fields["NDims"])
        shape = tuple(int(word) for word in fields["DimSize"].split())
        packed = int(fields["CompressedDataSize"]) if "CompressedDataSize" in fields else None
        skip = int(fields.get("HeaderSize", "0"))
    except ValueError as error:
        raise _not_meta(path, reason(error)) from error
    if len(shape) != dimension or min(shape, default=0) < 1 or skip < -1:
        raise _not_meta(path, f"NDims {dimension}, DimSize {shape}, HeaderSize {skip}")
    return _Layout(
        shape=three_axes(path, shape),
        affine=_affine(path, fields, dimension),
        dtype=_number_type(path, fields),
        compressed=_is_true(path, fields, "CompressedData"),
        packed_size=packed,
        skip=skip,
        data_file=fields["ElementDataFile"],
    )


def _check_kind(path: Path, fields: dict[str, str]) -> None:
    for name in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if not fields.get(name):
            raise _not_meta(path, f"no field {name} in its header")
    if fields.get("ObjectType", "Image") != "Image":
        raise _not_meta(path, f"expected ObjectType Image, got {fields['ObjectType']!r}")
    if not _is_true(path, fields, "BinaryData", missing=True):
        raise UnreadableImage(f"{path}: voxels stored as text are not supported; save the image as .nii.gz")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        got = fields["ElementNumberOfChannels"]
        raise UnreadableImage(f"{path}: expected one number per voxel, got {got}")
    for name, neutral in (
        ("ElementToIntensityFunctionSlope", 1),
        ("ElementToIntensityFunctionOffset", 0),
    ):
        if _numbers(path, fields, (name,), str(neutral), 1)[0] != neutral:
            raise UnreadableImage(f"{path}: {name} is not supported; save the image as .nii.gz")
    data_file = fields["ElementDataFile"]
    if data_file.upper().startswith("LIST") or "%" in data_file:
        raise UnreadableImage(f"{path}: voxels in several files are not supported; save the image as .nii.gz")


def _number_type(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = _TYPES.get(fields["ElementType"])
    if name is None:
        raise UnreadableImage(f"{path}: expected one number per voxel, got {fields['ElementType']!r}")
    big = [
        _is_true(path, fields, field)
        for field in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
        if field in fields
    ]
    if len(set(big)) > 1:
        raise _not_meta(path, "two byte orders in its header")
    return np.dtype(name).newbyteorder(">" if any(big) else "<")


def _is_true(path: Path, fields: dict[str, str], name: str, *, missing: bool = False) -> bool:
    word = fields.get(name, str(missing)).lower()
    if word not in ("true", "t", "1", "false", "f", "0"):
        raise _not_meta(path, f"expected True or False in {name}, got {word!r}")
    return word in ("true", "t", "1")


def _affine(path: Path, fields: dict[str, str], count: int) -> Affine:
    """MetaImage's rows are directions of the axes, in millimetres to left, posterior, superior."""
    identity = " ".join("1" if i == j else "0" for i in range(count) for j in range(count))
    turning = _numbers(path, fields, ("TransformMatrix", "Rotation", "Orientation"), identity, count**2)
    lengths = _numbers(path, fields, ("ElementSpacing", "ElementSize"), None, count)
    origin = _numbers(path, fields, ("Offset", "Origin", "Position"), " ".join("0" * count), count)
    affine = np.eye(4)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite affines are refused later
        affine[:3, :3] = (turning.reshape(count, count).T * lengths)[:3, :3]
    affine[:3, 3] = origin[:3]
    affine[:2] *= -1
    return affine


def _numbers(
    path: Path, fields: dict[str, str], names: tuple[str, ...], missing: str | None, count: int
) -> np.ndarray:
    text = next((fields[name] for name in names if name in fields), missing)
    if text is None:
        raise _not_meta(path, f"no field {names[0]} in its header")
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise _not_meta(path, reason(error)) from error
    if len(values) != count:
        raise _not_meta(path, f"expected {count} numbers in {names[0]}, got {text!r}")
    return values


def _not_meta(path: Path, why: str) -> UnreadableImage:
    return UnreadableImage(f"{path} is not a readable MetaImage file: {why}")
