"""NRRD, attached (``.nrrd``) or with its data beside it (``.nhdr``), read without ITK.

Its headers are text without a checksum, so what is not understood is refused rather than skipped.
"""

from __future__ import annotations

import bz2
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from oahier.images import payload, text_header
from oahier.images.errors import UnreadableImage, reason
from oahier.images.grid import Affine, Grid
from oahier.images.image import Image, three_axes, turned_grid

_TYPES = {
    "int8": "int8, signed char, int8_t",
    "uint8": "uint8, uchar, unsigned char, uint8_t",
    "int16": "int16, short, short int, signed short, signed short int, int16_t",
    "uint16": "uint16, ushort, unsigned short, unsigned short int, uint16_t",
    "int32": "int32, int, signed int, int32_t",
    "uint32": "uint32, uint, unsigned int, uint32_t",
    "int64": "int64, longlong, long long, long long int, signed long long, signed long long int, int64_t",
    "uint64": "uint64, ulonglong, unsigned long long, unsigned long long int, uint64_t",
    "float32": "float",
    "float64": "double",
}
_TYPE = {word: name for name, words in _TYPES.items() for word in words.split(", ")}

_SPACES = {
    "ras": (1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "left-posterior-superior": (-1.0, -1.0, 1.0),
}
"""Signs that turn coordinates of a space to right, anterior, superior."""

_DATA_FILE = ("data file", "datafile")
_IGNORED = {
    "content", "number", "old min", "oldmin", "old max", "oldmax", "min", "max", "thicknesses", "axis mins",
    "axismins", "axis maxs", "axismaxs", "centers", "centerings", "labels", "units", "space units",
    "sample units", "sampleunits", "measurement frame", "block size", "blocksize",
}  # fmt: skip
_USED = {
    "type", "dimension", "sizes", "encoding", "endian", "space", "space dimension", "space directions",
    "space origin", "spacings", "data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip",
    "kinds",
}  # fmt: skip


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, ...]
    affine: Affine
    dtype: np.dtype[Any]
    encoding: str
    skip: int


def read_nrrd(path: Path) -> Image:
    """Read a ``.nrrd`` or ``.nhdr`` file, raw or compressed by gzip or bzip2.

    Raises:
        UnreadableImage: damaged, not 3D, not one number per voxel, stored as text, a data file outside of the
            header's folder, or a header with unknown fields.
    """
    packed = payload.file_bytes(path)
    fields, end = _fields(path, packed)
    layout = _layout(path, fields)
    shape = three_axes(path, layout.shape)
    separate = _data_file(path, fields)
    raw = _raw(path, text_header.stored_bytes(packed, end, separate), layout)
    return text_header.image_of(path, raw, layout.dtype, shape, layout.affine)


def read_nrrd_grid(path: Path) -> Grid:
    """Grid after the axes are turned to RAS+, from the header alone."""
    packed = payload.first_bytes(path, text_header.LONGEST)
    layout = _layout(path, _fields(path, packed)[0])
    return turned_grid(path, three_axes(path, layout.shape), layout.affine)


def nrrd_says_orientation(path: Path) -> bool:
    """False where the header names no space: ITK's is then assumed."""
    return "space" in _fields(path, payload.first_bytes(path, text_header.LONGEST))[0]


def nrrd_data_file(path: Path, start: bytes) -> Path | None:
    """The file with the voxels, if it is another than the header's.

    Args:
        path: the header.
        start: its first bytes.

    Raises:
        UnreadableImage: damaged, or a data file that is missing or outside of the header's folder.
    """
    return _data_file(path, _fields(path, start)[0])


def _data_file(path: Path, fields: dict[str, str]) -> Path | None:
    name = fields.get("data file", fields.get("datafile"))
    return None if name is None else payload.beside(path, name)


def _raw(path: Path, stored: bytes | memoryview, layout: _Layout) -> Any:
    count = math.prod(layout.shape) * layout.dtype.itemsize
    if layout.encoding == "raw":
        return text_header.uncompressed(path, stored, count, layout.skip)
    if layout.skip:
        raise UnreadableImage(
            f"{path}: a byte skip in compressed data is not supported; save the image again"
        )
    if layout.encoding == "gzip":
        return payload.unpacked(path, stored, count, payload.GZIP)
    payload.check_size(path, count, count)
    stream = bz2.BZ2Decompressor()
    try:
        raw = stream.decompress(stored, count + 1)
        if len(raw) == count and not stream.eof:
            raw += stream.decompress(b"", 1)  # the end mark, with its checksum
    except (OSError, EOFError, ValueError) as error:
        raise payload.damaged(path, reason(error)) from error
    if not stream.eof or stream.unused_data:
        raise payload.damaged(path, "the compressed data do not end where they should")
    return raw


def _fields(path: Path, packed: bytes) -> tuple[dict[str, str], int]:
    """Fields of the header in lower case, and the byte where attached data start."""
    if not re.match(rb"NRRD000[1-5]\r?\n", packed):
        raise _not_nrrd(path, f"it starts with the bytes {packed[:8].hex(' ')}")
    blank = re.search(rb"\n\r?\n", packed[: text_header.LONGEST])
    end = blank.end() if blank else len(packed)
    fields: dict[str, str] = {}
    for line in text_header.header_lines(packed[: min(end, text_header.LONGEST)])[1:]:
        if not line.strip() or line.startswith("#") or ":=" in line:
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        name = name.lower()
        if not colon or name not in _USED | _IGNORED or name in fields:
            raise _not_nrrd(path, text_header.unexpected_line(name, colon))
        if name in _DATA_FILE and (value.upper().startswith("LIST") or "%" in value):
            raise UnreadableImage(f"{path}: voxels in several files are not supported; save it as .nii.gz")
        fields[name] = value
    if blank is None and not set(_DATA_FILE) & set(fields):
        raise payload.damaged(path, "the header has no end")
    return fields, end


def _layout(path: Path, fields: dict[str, str]) -> _Layout:
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise _not_nrrd(path, f"no field {missing[0]!r} in its header")
    try:
        shape = tuple(int(word) for word in fields["sizes"].split())
        dimension = int(fields["dimension"])
        skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
        lines = int(fields.get("line skip", fields.get("lineskip", "0")))
    except ValueError as error:
        raise _not_nrrd(path, reason(error)) from error
    if len(shape) != dimension or not shape or min(shape) < 1 or skip < -1:
        raise _not_nrrd(path, f"dimension {dimension}, sizes {shape}, byte skip {skip}")
    if lines:
        raise UnreadableImage(f"{path}: a line skip is not supported; save the image again as .nii.gz")
    return _Layout(
        shape=(three := _volume(path, shape, fields)),
        affine=_affine(path, fields, len(three)),
        dtype=_number_type(path, fields),
        encoding=_encoding(path, fields["encoding"].lower()),
        skip=skip,
    )


def _volume(path: Path, shape: tuple[int, ...], fields: dict[str, str]) -> tuple[int, ...]:
    """Refuse axes of colours and vectors; the rest is for :func:`three_axes` to judge."""
    for kind, count in zip(fields.get("kinds", "").lower().split(), shape, strict=False):
        spatial = kind in ("domain", "space", "time", "list", "???", "none", "scalar", "stub")
        if not spatial and count > 1:
            raise UnreadableImage(f"{path}: expected one number per voxel, got {count} ({kind})")
    return three_axes(path, shape)


def _number_type(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = _TYPE.get(" ".join(fields["type"].lower().split()))
    if name is None:
        raise UnreadableImage(f"{path}: expected one number per voxel, got the NRRD type {fields['type']!r}")
    dtype, endian = np.dtype(name), fields.get("endian", "").lower()
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise _not_nrrd(path, f"expected endian little or big, got {endian!r}")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _encoding(path: Path, word: str) -> str:
    known = {"raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
    if word not in known:
        raise UnreadableImage(
            f"{path}: expected encoding raw, gzip or bzip2, got {word!r}; save it as .nii.gz"
        )
    return known[word]


def _affine(path: Path, fields: dict[str, str], count: int) -> Affine:
    affine = np.eye(4)
    try:
        if "space directions" in fields:
            axes = _vectors(fields["space directions"])[:count]
            origin = _vectors(fields.get("space origin", "(0,0,0)"))
            affine[:3, :3] = np.array(axes, dtype=np.float64).T
            affine[:3, 3] = origin[0]
        elif "spacings" in fields:
            affine[:3, :3] = np.diag([float(word) for word in fields["spacings"].split()[:3]])
        else:
            raise UnreadableImage(f"{path}: expected space directions or spacings in the header, got neither")
    except UnreadableImage:
        raise
    except (ValueError, IndexError, TypeError) as error:
        raise _not_nrrd(
            path, f"its directions, origin or spacings cannot be read: {reason(error)}"
        ) from error
    affine[:3] *= _signs(path, fields)[:, np.newaxis]
    return affine


def _vectors(text: str) -> list[list[float]]:
    if re.sub(r"\([^()]*\)|\s|none", "", text):
        raise ValueError(text)
    return [[float(part) for part in vector.split(",")] for vector in re.findall(r"\(([^()]*)\)", text)]


def _signs(path: Path, fields: dict[str, str]) -> Float64[np.ndarray, "3"]:
    """From the header's space to RAS; without one ITK's is assumed, which counts to left and posterior."""
    if "space" not in fields and fields.get("space dimension", "3") != "3":
        raise UnreadableImage(f"{path}: expected space dimension 3, got {fields['space dimension']!r}")
    space = " ".join(fields.get("space", "lps").lower().split())
    if space not in _SPACES:
        raise UnreadableImage(f"{path}: expected one of the spaces {', '.join(_SPACES)}, got {space!r}")
    return np.array(_SPACES[space])


def _not_nrrd(path: Path, why: str) -> UnreadableImage:
    return UnreadableImage(f"{path} is not a readable NRRD file: {why}")
