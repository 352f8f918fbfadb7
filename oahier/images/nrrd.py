"""Headers of NRRD, with the voxels behind (``.nrrd``) or beside them (``.nhdr``), read without ITK.

Its headers are text without a checksum, so what is not understood is refused rather than skipped.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from oahier.images.errors import UnreadableImage, reason
from oahier.images.grid import Affine
from oahier.images.image import ASSUMED_ORIENTATION, three_axes
from oahier.images.payload import damaged
from oahier.images.text_header import (
    LONGEST,
    BadHeader,
    data_files,
    header_lines,
    pass_over,
    unexpected_line,
    whole_numbers,
)
from oahier.images.voxels import Layout

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

_PACKINGS = {
    "raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2", "hex": "hex",
    "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
_ONE_WORD = {"data file", "line skip", "byte skip", "old min", "old max", "axis mins", "axis maxs",
             "sample units", "block size"}  # fmt: skip
"""Fields that are also written without the space."""
_FIELDS = {name.replace(" ", ""): name for name in _ONE_WORD} | {
    name: name for name in (*_ONE_WORD,
    "content", "number", "min", "max", "thicknesses", "centers", "centerings", "labels", "units",
    "space units", "measurement frame", "type", "dimension", "sizes", "encoding", "endian", "space",
    "space dimension", "space directions", "space origin", "spacings", "kinds",
)}  # fmt: skip


def nrrd_layout(path: Path, content: bytes, insist: Collection[str] = ()) -> Layout:
    """What the header at the start of a file says.

    Raises:
        BadHeader: damaged, with unknown fields, or no NRRD.
        UnreadableImage: not 3D, not one number per voxel, of an unknown space, or without an end.
    """
    notes: list[str] = []
    fields, end = _fields(path, content, insist, notes)
    if missing := [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]:
        raise BadHeader(f"no field {missing[0]!r} in its header")
    sizes = whole_numbers(fields["sizes"], "sizes")
    (dimension,), (skip,), (lines,) = (
        whole_numbers(fields.get(name, "0"), name)[:1] for name in ("dimension", "byte skip", "line skip")
    )
    if len(sizes) != dimension or min(sizes) < 1 or skip < -1:
        raise BadHeader(f"dimension {dimension}, sizes {sizes}, byte skip {skip}")
    packing = _PACKINGS.get(fields["encoding"].lower())
    if packing is None:
        got = fields["encoding"]
        raise UnreadableImage(
            f"{path}: expected encoding raw, gzip or bzip2, got {got!r}; save it as .nii.gz"
        )
    if lines or (skip and packing != "raw"):
        raise UnreadableImage(f"{path}: lines or packed bytes to skip are not supported; save it as .nii.gz")
    shape, affine = _geometry(path, sizes, fields)
    name, *rest = fields.get("data file", "").split("\n")
    return Layout(
        shape=shape,
        affine=affine,
        dtype=_number_type(path, fields, packing),
        packing=packing,
        offset=skip,
        end=end,
        files=data_files(name, rest) if name else (),
        notes=(*notes, *(() if "space" in fields else (ASSUMED_ORIENTATION,))),
    )


def _fields(
    path: Path, content: bytes, insist: Collection[str], notes: list[str]
) -> tuple[dict[str, str], int]:
    """Fields of the header by their names in lower case, and the byte where attached data start."""
    if not re.match(rb"(\xef\xbb\xbf)?NRRD000[1-5]\r?\n", content):
        raise BadHeader(f"it starts with the bytes {content[:8].hex(' ')}")
    blank = re.search(rb"\n\r?\n", content[:LONGEST])
    end = blank.end() if blank else len(content)
    fields: dict[str, str] = {}
    lines = header_lines(content[: min(end, LONGEST)])
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip() or line.startswith("#") or ":=" in line:
            continue
        written, colon, value = (part.strip() for part in line.partition(":"))
        name = _FIELDS.get(written.lower())
        if not colon or name is None or name in fields:
            pass_over(unexpected_line(written, colon), insist, notes)
            continue
        fields[name] = value
        if name == "data file" and value.startswith("LIST"):
            fields[name] = "\n".join([value, *lines[number:]])
            break
    if blank is None and "data file" not in fields:
        raise damaged(path, "the header has no end")
    return fields, end


def _geometry(
    path: Path, sizes: tuple[int, ...], fields: dict[str, str]
) -> tuple[tuple[int, int, int], Affine]:
    """Shape and affine of the axes in space; others (colours, time points) must have one entry."""
    for kind, count in zip(fields.get("kinds", "").lower().split(), sizes, strict=False):
        spatial = kind in ("domain", "space", "time", "list", "???", "none", "scalar", "stub")
        if not spatial and count > 1:
            raise UnreadableImage(f"{path}: expected one number per voxel, got {count} ({kind})")
    affine = np.eye(4)
    try:
        if "space directions" in fields:
            axes = _vectors(fields["space directions"])
        elif "spacings" in fields:
            lengths = [float(word) for word in fields["spacings"].split()]
            spaced = iter(np.eye(len(sizes)))
            axes = [None if np.isnan(one) else list(one * next(spaced)) for one in lengths]
        else:
            raise UnreadableImage(f"{path}: expected space directions or spacings in the header, got neither")
        inside = [n for n, axis in enumerate(axes) if axis is not None or sizes[n] > 1]
        shape = three_axes(path, tuple(sizes[n] for n in inside))
        affine[:3, :3] = np.array([(axes[n] or [])[:3] for n in inside[:3]], dtype=np.float64).T
        if "space directions" in fields:
            affine[:3, 3] = (_vectors(fields.get("space origin", "(0,0,0)"))[0] or [])[:3]
    except UnreadableImage:
        raise
    except (ValueError, IndexError, TypeError) as error:
        raise BadHeader(f"its directions, origin or spacings cannot be read: {reason(error)}") from error
    affine[:3] *= np.array(_signs(path, fields))[:, np.newaxis]
    return shape, affine


def _vectors(text: str) -> list[list[float] | None]:
    words = re.findall(r"\([^()]*\)|none", text)
    if re.sub(r"\([^()]*\)|\s|none", "", text):
        raise ValueError("expected vectors such as (1,0,0)")
    return [None if word == "none" else [float(n) for n in word[1:-1].split(",")] for word in words]


def _number_type(path: Path, fields: dict[str, str], packing: str) -> np.dtype[Any]:
    name = _TYPE.get(" ".join(fields["type"].lower().split()))
    if name is None:
        raise UnreadableImage(f"{path}: expected one number per voxel, got the NRRD type {fields['type']!r}")
    dtype, endian = np.dtype(name), fields.get("endian", "").lower()
    if dtype.itemsize > 1 and packing != "text" and endian not in ("little", "big"):
        raise BadHeader(f"expected endian little or big, got {endian!r}")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _signs(path: Path, fields: dict[str, str]) -> tuple[float, float, float]:
    """From the header's space to RAS; without one ITK's is assumed, which counts to left and posterior."""
    if "space" not in fields and fields.get("space dimension", "3") != "3":
        raise UnreadableImage(f"{path}: expected space dimension 3, got {fields['space dimension']!r}")
    space = " ".join(fields.get("space", "lps").lower().split())
    timed = {"rast": "ras", "last": "las", "lpst": "lps"}.get(space, space.removesuffix("-time"))
    if timed not in _SPACES:
        raise UnreadableImage(f"{path}: expected one of the spaces {', '.join(_SPACES)}, got {space!r}")
    return _SPACES[timed]
