"""Text headers of NRRD and MetaImage, with voxels behind them or in a file beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from oahier.images import payload
from oahier.images.grid import Affine
from oahier.images.image import Image, turned_to_ras

LONGEST = 1 << 20
"""Bytes within which a header must end."""


def header_lines(content: bytes) -> list[str]:
    """Lines of a header: UTF-8, else Latin-1, in which comments of older programs are written."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return re.split(r"\r\n|\r|\n", text)


def unexpected_line(name: str, mark: str) -> str:
    """Why a header is refused, without quoting what may tell who a person is.

    >>> unexpected_line("PatientName", "="), unexpected_line("Doe 1950", "")
    ("unknown or repeated field 'PatientName' in its header", 'a line of its header is no field')
    """
    if mark and re.fullmatch(r"[A-Za-z][A-Za-z_ -]{0,39}", name):
        return f"unknown or repeated field {name!r} in its header"
    return "a line of its header is no field"


def stored_bytes(packed: bytes, end: int, separate: Path | None) -> bytes | memoryview:
    """What stands behind the header, or in the file that it names."""
    return memoryview(packed)[end:] if separate is None else payload.file_bytes(separate)


def uncompressed(path: Path, stored: bytes | memoryview, count: int, skip: int) -> bytes | memoryview:
    """Voxels that are not compressed, behind ``skip`` bytes; the last ``count`` bytes for a skip of -1.

    Raises:
        UnreadableImage: fewer bytes than that.
    """
    if skip < 0:
        payload.check_size(path, count, len(stored))
        return stored[len(stored) - count :]
    return stored[skip:]


def image_of(path: Path, raw: Any, dtype: np.dtype[Any], shape: tuple[int, ...], affine: Affine) -> Image:
    """The image whose bytes are ``raw``; doubles become float32.

    Raises:
        UnreadableImage: not exactly the bytes of that shape, or an affine that cannot be used.
    """
    return turned_to_ras(path, payload.in_single(payload.voxels(path, raw, dtype, shape)), affine)
