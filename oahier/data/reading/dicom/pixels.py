"""The voxels of a series."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from oahier.data.reading.content import LARGEST, check_size, damaged
from oahier.data.reading.dicom.headers import Slice, quietly
from oahier.data.reading.errors import UnreadableImage, reason

_PLAIN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
"""Transfer syntaxes without compressed pixels."""


def stack(slices: Sequence[Slice]) -> Shaped[np.ndarray, "columns rows slices"]:
    """Voxels of sorted slices of one shape: along a row, along a column, across slices.

    Whole numbers stay whole unless the header scales them by a fraction; then float32.

    Raises:
        UnreadableImage: a file that is damaged, truncated or changed since its header was read.
    """
    rows, columns = slices[0].shape
    size = rows * columns * len(slices) * 2
    if size > LARGEST:
        raise UnreadableImage(
            f"{slices[0].path}: the headers ask for {size} bytes of voxels, more than a knee has"
        )
    planes = [
        plane
        for path, group in groupby(slices, key=lambda one: one.path)
        for plane in _planes(path, list(group))
    ]
    kind = np.result_type(*{plane.dtype for plane in planes})
    volume = np.empty((columns, rows, len(slices)), dtype=kind, order="F")
    for number, plane in enumerate(planes):
        volume[:, :, number] = plane.T
    return volume


def _planes(path: Path, wanted: Sequence[Slice]) -> Iterator[np.ndarray]:
    import pydicom

    try:
        with quietly():
            data: Any = pydicom.dcmread(path, force=True)
            if (int(data.Rows), int(data.Columns)) != wanted[0].shape:
                raise ValueError(f"{data.Rows} x {data.Columns} pixels, its header said {wanted[0].shape}")
            syntax = str(data.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
            frames = _plain(path, data, syntax) if syntax in _PLAIN else _compressed(path, wanted[0].shape)
            for one in wanted:
                yield frames[one.frame]
    except UnreadableImage:
        raise
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise damaged(path, reason(error)) from error


def _plain(path: Path, data: Any, syntax: str) -> Shaped[np.ndarray, "frames rows columns"]:
    """Pixels as they are stored, without bits that are no part of them, scaled as the header says."""
    bits = int(data.BitsAllocated)
    stored, high = int(data.get("BitsStored", bits)), int(data.get("HighBit", bits - 1))
    if bits not in (8, 16, 32) or not 1 <= stored <= bits or high != stored - 1:
        raise ValueError(f"{stored} bits up to bit {high} of {bits} per pixel")
    shape = (int(data.get("NumberOfFrames") or 1), int(data.Rows), int(data.Columns))
    count = math.prod(shape) * bits // 8
    raw = data.PixelData
    check_size(path, count, len(raw))
    if len(raw) > count + 1:  # an odd number of bytes is filled up to an even one
        raise ValueError(f"expected {count} bytes of pixels, got {len(raw)}")
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    signed = bool(int(data.get("PixelRepresentation", 0)))
    kind = np.dtype(f"{order}{'i' if signed else 'u'}{bits // 8}")
    pixels = np.frombuffer(raw, dtype=kind, count=math.prod(shape)).reshape(shape)
    pixels = pixels.astype(kind.newbyteorder("="), copy=False)
    if stored < bits:
        free = pixels.dtype.type(bits - stored)
        pixels = (pixels << free) >> free  # overlays may live in the upper bits
    return _scaled(data, pixels)


def _scaled(data: Any, pixels: np.ndarray) -> np.ndarray:
    slope, offset = (
        float(data.get(name) if data.get(name) is not None else default) for name, default in _RESCALE
    )
    if (slope, offset) == (1.0, 0.0):
        return pixels
    if not (math.isfinite(slope) and math.isfinite(offset) and slope):
        raise ValueError(f"rescale slope {slope}, intercept {offset}")
    scaled = pixels * slope + offset
    if slope == int(slope) and offset == int(offset) and np.abs(scaled).max() < 1 << 31:
        return scaled.astype(np.int32)
    return scaled.astype(np.float32)


_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _compressed(path: Path, shape: tuple[int, int]) -> Shaped[np.ndarray, "frames rows columns"]:
    """Pixels unpacked and scaled by GDCM."""
    import SimpleITK as sitk

    display = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.GlobalWarningDisplayOff()  # what it warns of is checked here
    try:
        frames = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    except RuntimeError as error:
        raise damaged(path, reason(error)) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(display)
    if frames.shape[-2:] != shape:
        raise damaged(path, f"expected {shape} pixels, got {frames.shape[-2:]}")
    frames = frames.reshape(-1, *shape)
    return frames.astype(np.float32) if frames.dtype == np.float64 else frames
