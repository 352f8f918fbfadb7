"""Headers of MetaImage, with the voxels behind (``.mha``) or beside them (``.mhd``), read without ITK.

ITK unpacks damaged compressed data to other voxels in silence; here the checksum decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from oahier.images.errors import UnreadableImage
from oahier.images.grid import Affine
from oahier.images.image import three_axes
from oahier.images.text_header import (
    LONGEST,
    BadHeader,
    data_files,
    header_lines,
    numbers,
    pass_over,
    unexpected_line,
    whole_numbers,
)
from oahier.images.voxels import Layout

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


def metaimage_layout(path: Path, content: bytes, insist: Collection[str] = ()) -> Layout:
    """What the header at the start of a file says.

    Raises:
        BadHeader: damaged, or no MetaImage.
        UnreadableImage: not 3D, not one number per voxel, or an intensity function.
    """
    notes: list[str] = []
    fields, end = _fields(content, insist, notes)
    _check_kind(path, fields)
    shape = whole_numbers(fields["DimSize"], "DimSize")
    (dimension,), (skip,) = (
        whole_numbers(fields.get(name, "0"), name)[:1] for name in ("NDims", "HeaderSize")
    )
    if len(shape) != dimension or min(shape) < 1 or skip < -1:
        raise BadHeader(f"NDims {dimension}, DimSize {shape}, HeaderSize {skip}")
    size = fields.get("CompressedDataSize")
    name, *rest = fields["ElementDataFile"].split("\n")
    text = not _is_true(fields, "BinaryData", missing=True)
    if not {"ElementSpacing", "ElementSize"} & set(fields):
        notes.append("its header has no spacing of the voxels: 1 mm is assumed")
    return Layout(
        shape=three_axes(path, shape),
        affine=_affine(fields, dimension),
        dtype=_number_type(path, fields),
        packing="text" if text else "zlib" if _is_true(fields, "CompressedData") else "raw",
        offset=skip,
        size=whole_numbers(size, "CompressedDataSize")[0] if size else None,
        end=end,
        files=() if name.upper() == "LOCAL" else data_files(name, rest),
        notes=tuple(notes),
    )


def _fields(content: bytes, insist: Collection[str], notes: list[str]) -> tuple[dict[str, str], int]:
    """Fields of the header, and the byte where local data start; ``ElementDataFile`` is the last."""
    last = re.search(rb"^\s*ElementDataFile\s*=\s*([^\r\n]*)(\r?\n|\r|$)", content[:LONGEST], re.MULTILINE)
    if last is None:
        raise BadHeader("no line 'ElementDataFile = ...' in its header")
    fields: dict[str, str] = {}
    for line in header_lines(content[: last.start(1)]):
        name, equals, value = (part.strip() for part in line.partition("="))
        twice = name in fields and name != "Comment"
        if line.strip() and (not equals or twice or not name.isprintable()):
            pass_over(unexpected_line(name, equals), insist, notes)
        elif line.strip():
            fields[name] = value
    named = content[last.start(1) : LONGEST if last[1].startswith(b"LIST") else last.end(1)]
    fields["ElementDataFile"] = "\n".join(line.strip() for line in header_lines(named))
    return fields, last.end()


def _check_kind(path: Path, fields: dict[str, str]) -> None:
    for name in ("NDims", "DimSize", "ElementType", "ElementDataFile"):
        if not fields.get(name):
            raise BadHeader(f"no field {name} in its header")
    if fields.get("ObjectType", "Image") != "Image":
        raise BadHeader(f"expected ObjectType Image, got {fields['ObjectType']!r}")
    if (channels := fields.get("ElementNumberOfChannels", "1")) != "1":
        raise UnreadableImage(f"{path}: expected one number per voxel, got {channels}")
    for name, neutral in (("ElementToIntensityFunctionSlope", 1), ("ElementToIntensityFunctionOffset", 0)):
        if numbers(fields.get(name, str(neutral)), name, 1)[0] != neutral:
            raise UnreadableImage(f"{path}: {name} is not supported; save the image as .nii.gz")


def _number_type(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = _TYPES.get(fields["ElementType"])
    if name is None:
        raise UnreadableImage(f"{path}: expected one number per voxel, got {fields['ElementType']!r}")
    orders = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    big = {_is_true(fields, field) for field in orders if field in fields}
    if len(big) > 1:
        raise BadHeader("two byte orders in its header")
    return np.dtype(name).newbyteorder(">" if True in big else "<")


def _is_true(fields: dict[str, str], name: str, *, missing: bool = False) -> bool:
    word = fields.get(name, str(missing)).lower()
    if word not in ("true", "t", "1", "false", "f", "0"):
        raise BadHeader(f"expected True or False in {name}, got {word!r}")
    return word in ("true", "t", "1")


def _affine(fields: dict[str, str], count: int) -> Affine:
    """MetaImage's rows are directions of the axes, in millimetres to left, posterior, superior."""
    identity = " ".join("1" if i == j else "0" for i in range(count) for j in range(count))

    def found(names: tuple[str, ...], missing: str, size: int) -> np.ndarray:
        text = next((fields[name] for name in names if name in fields), missing)
        return numbers(text, names[0], size)

    turning = found(("TransformMatrix", "Rotation", "Orientation"), identity, count**2)
    lengths = found(("ElementSpacing", "ElementSize"), "1 " * count, count)
    affine = np.eye(4)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite affines are refused later
        affine[:3, :3] = (turning.reshape(count, count).T * lengths)[:3, :3]
    affine[:3, 3] = found(("Offset", "Origin", "Position"), "0 " * count, count)[:3]
    affine[:2] *= -1
    return affine
