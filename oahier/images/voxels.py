"""Voxels of image files: where they lie, as headers say, and reading them from there."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from oahier.images.errors import FORCED, UnreadableImage, advice, reason
from oahier.images.grid import Affine
from oahier.images.image import Image, turned_to_ras
from oahier.images.payload import beside, check_size, damaged, file_bytes, inflated


@dataclass(frozen=True)
class Layout:
    """Where the voxels lie and what their numbers mean, as a header says.

    Args:
        shape: voxels along the axes of the file, the first of which runs fastest.
        affine: voxel indices to millimetres (RAS+).
        dtype: of the stored numbers.
        packing: raw, gzip, zlib, bzip2, text or hex.
        offset: bytes before the first voxel, once unpacked; -1 where the voxels are the last bytes.
        least: what ``offset`` is where nothing is skipped.
        size: bytes while packed, where the header says it.
        end: bytes of the header that lie before all of that.
        files: names of the files with the voxels, none where these follow the header.
        slope, intercept: of the intensities.
        notes: what was repaired or assumed.
    """

    shape: tuple[int, int, int]
    affine: Affine
    dtype: np.dtype[Any]
    packing: str = "raw"
    offset: int = 0
    least: int = 0
    size: int | None = None
    end: int = 0
    files: tuple[str, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Bytes of the voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_voxels(path: Path, content: bytes, layout: Layout, insist: Collection[str] = ()) -> Image:
    """The image of a file whose header has been read; doubles become float32.

    Args:
        path: for messages, and for files beside it.
        content: of the file.
        layout: what the header says.
        insist: with ``tail``, pass over any bytes that follow the voxels.

    Raises:
        UnreadableImage: fewer bytes, or more than may be passed over; a wrong checksum; no such file.
    """
    stored = _joined(path, layout) if layout.files else memoryview(content)[layout.end :]
    raw, surplus, behind = _unpacked(path, stored, layout)
    slices = any(surplus % (layout.count // count) == 0 for count in layout.shape)
    total, notes = surplus + behind, layout.notes
    if surplus and (slices or layout.offset > layout.least):
        # a header that was changed in one number leaves whole slices behind
        why = f"{surplus} bytes follow its voxels, which may be voxels too if its header is wrong"
        if "tail" not in insist:
            raise UnreadableImage(f"{path}: {why}; compare it with its source{advice('tail')}")
        notes = (*notes, f"{FORCED} {why}")
    elif total:
        notes = (*notes, f"{total} bytes that follow its voxels were passed over")
    flat = np.frombuffer(raw, dtype=layout.dtype)
    if not flat.flags.writeable or not flat.flags.aligned or not layout.dtype.isnative:
        flat = flat.astype(layout.dtype.newbyteorder("="))
    data = _rescaled(flat.reshape(layout.shape, order="F"), layout.slope, layout.intercept)
    return turned_to_ras(path, data, layout.affine, notes)


def _unpacked(path: Path, stored: memoryview, layout: Layout) -> tuple[Any, int, int]:
    """Exactly the bytes of the voxels; how many more there are, and how many behind a compressed stream."""
    wanted, raw = max(layout.offset, 0) + layout.count, stored
    if layout.packing in ("text", "hex"):
        raw = memoryview(_spelt(path, bytes(stored), layout))
        check_size(path, len(raw), wanted)
    elif layout.packing != "raw":
        found, surplus, behind = inflated(path, stored, layout.packing, wanted, layout.size)
        return found[wanted - layout.count :], surplus, behind
    check_size(path, wanted, len(raw))
    start = len(raw) - wanted if layout.offset < 0 else wanted - layout.count
    raw = raw[start:]
    return raw[: layout.count], len(raw) - layout.count, 0


def _spelt(path: Path, stored: bytes, layout: Layout) -> bytes:
    """Numbers in decimal or hexadecimal digits; the last decimal one needs a space behind it."""
    try:
        if layout.packing == "hex":
            return bytes.fromhex(stored.decode("ascii"))
        if not stored[-1:].isspace():
            raise ValueError("its last number may be cut")
        return np.array(stored.split()).astype(layout.dtype).tobytes()
    except (ValueError, OverflowError) as error:
        raise damaged(path, reason(error)) from error


def _rescaled(
    stored: Shaped[np.ndarray, "*axes"], slope: float, offset: float
) -> Shaped[np.ndarray, "*axes"]:
    """``stored * slope + offset`` in float32, computed in float64 slab by slab; doubles as float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite values are reported with the contents
        if slope == 1 and offset == 0:
            return stored.astype(np.float32, order="K") if stored.dtype == np.float64 else stored
        out = np.empty(stored.shape, dtype=np.float32, order="F")
        for k in range(stored.shape[-1]):
            out[..., k] = stored[..., k] * np.float64(slope) + np.float64(offset)
    return out


def _joined(path: Path, layout: Layout) -> memoryview:
    """The bytes of the files that a header names, one after the other."""
    parts = [file_bytes(beside(path, name)) for name in layout.files]
    if len(parts) == 1:
        return memoryview(parts[0])
    if layout.packing != "raw" or layout.offset:
        raise UnreadableImage(
            f"{path}: packed files, or bytes to skip in several, are not supported; save it as .nii.gz"
        )
    for name, part in zip(layout.files, parts, strict=True):
        if len(part) * len(parts) != layout.count:
            each = layout.count / len(parts)
            raise damaged(
                path, f"expected {each:g} bytes in each of {len(parts)} files, got {len(part)} in {name}"
            )
    return memoryview(b"".join(parts))
