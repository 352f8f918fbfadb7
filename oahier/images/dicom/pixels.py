"""The voxels of a series."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from oahier.images.dicom import gdcm_worker
from oahier.images.dicom.header_faults import HeaderFault, fault_words
from oahier.images.dicom.headers import BIG_ENDIAN, DEFLATED, PLAIN, RLE, Slice, quietly
from oahier.images.errors import UnreadableImage, reason
from oahier.images.payload import LARGEST, check_size, damaged

_JPEG = {"50", "51", "57", "70", "80", "81", "90", "91"}
"""Last numbers of the transfer syntaxes of JPEG, JPEG-LS and JPEG 2000 that GDCM unpacks."""

_SECONDS = 600
"""Until unpacking of a series is given up."""


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
            f"{slices[0].path}: its headers ask for {size} bytes of voxels, a knee has less"
        )
    first = {one.path: one for one in reversed(slices)}
    stored = {path: _stored(path, first[path]) for path in dict.fromkeys(one.path for one in slices)}
    packed = [path for path, frames in stored.items() if frames is None]
    stored |= _unpacked(packed, (rows, columns)) if packed else {}
    planes: list[np.ndarray] = []
    for one in slices:
        frames = stored[one.path]
        if frames is None or len(frames) != one.frames:
            raise damaged(one.path, f"expected {one.frames} frames")
        planes.append(frames[one.frame])
    kind = np.result_type(*{plane.dtype for plane in planes})
    kind = np.dtype(np.float32) if kind.kind == "f" else kind
    volume = np.empty((columns, rows, len(slices)), dtype=kind, order="F")
    for number, plane in enumerate(planes):
        volume[:, :, number] = plane.T
    return volume


def _stored(path: Path, wanted: Slice) -> Shaped[np.ndarray, "frames rows columns"] | None:
    """Pixels of a file, ``None`` where GDCM has to unpack them."""
    import pydicom

    try:
        with quietly():
            data: Any = pydicom.dcmread(path, force=True)
            shape = (int(data.Rows), int(data.Columns))
            if shape != wanted.shape:
                raise HeaderFault(f"{shape[0]} x {shape[1]} pixels, its header said {wanted.shape}")
            syntax = str(data.file_meta.get("TransferSyntaxUID", PLAIN[0]))
            if syntax == RLE:
                _decompress(data)
            elif syntax not in (*PLAIN, DEFLATED):
                return None
            return _plain(path, data, ">" if syntax == BIG_ENDIAN else "<")
    except UnreadableImage:
        raise
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise damaged(path, fault_words(error)) from error


def _decompress(data: Any) -> None:
    try:
        data.decompress(decoding_plugin="pydicom")
    except Exception as error:  # of the pixels, which quotes nothing of the header
        raise HeaderFault(reason(error)) from error


def _plain(path: Path, data: Any, order: str) -> Shaped[np.ndarray, "frames rows columns"]:
    """Pixels as they are stored, without bits that are no part of them, scaled as the header says."""
    bits = int(data.BitsAllocated)
    stored, high = int(data.get("BitsStored", bits)), int(data.get("HighBit", bits - 1))
    if bits not in (8, 16, 32) or not 1 <= stored <= bits or high != stored - 1:
        raise HeaderFault(f"{stored} bits up to bit {high} of {bits} per pixel")
    shape = (int(data.get("NumberOfFrames") or 1), int(data.Rows), int(data.Columns))
    count = math.prod(shape) * bits // 8
    raw = data.PixelData
    check_size(path, count, len(raw))
    if len(raw) > count + count % 2:  # filled up to an even number of bytes
        raise HeaderFault(f"expected {count} bytes of pixels, got {len(raw)}")
    signed = bool(int(data.get("PixelRepresentation", 0)))
    kind = np.dtype(f"{order}{'i' if signed else 'u'}{bits // 8}")
    pixels = np.frombuffer(raw, dtype=kind, count=math.prod(shape)).reshape(shape)
    pixels = pixels.astype(kind.newbyteorder("="), copy=False)
    if stored < bits:
        free = pixels.dtype.type(bits - stored)
        pixels = (pixels << free) >> free  # overlays may live in the upper bits
    return _scaled(data, pixels)


def _scaled(data: Any, pixels: np.ndarray) -> np.ndarray:
    slope, offset = data.get("RescaleSlope"), data.get("RescaleIntercept")
    slope, offset = (1.0 if slope is None else float(slope)), (0.0 if offset is None else float(offset))
    if (slope, offset) == (1.0, 0.0):
        return pixels
    if not (math.isfinite(slope) and math.isfinite(offset) and slope):
        raise HeaderFault(f"rescale slope {slope}, intercept {offset}")
    scaled = pixels * slope + offset
    if slope == int(slope) and offset == int(offset) and np.abs(scaled).max() < 1 << 31:
        return scaled.astype(np.int32)
    with np.errstate(over="ignore"):  # infinite values are reported with the other contents
        return scaled.astype(np.float32)


def _unpacked(paths: Sequence[Path], shape: tuple[int, int]) -> dict[Path, np.ndarray]:
    """Pixels unpacked and scaled by GDCM, in a process of its own that damaged files may take down."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(gdcm_worker.__file__),
            folder,
            *(str(path.absolute()) for path in paths),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise damaged(paths[0], f"its compressed pixels: {reason(error)}") from error
        if done.returncode:
            made = len(list(Path(folder).iterdir()))
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"GDCM ended with {done.returncode}"
            raise _not_unpacked(paths[min(made, len(paths) - 1)], why)
        frames = [np.load(Path(folder, f"{number}.npy")) for number in range(len(paths))]
    found = {}
    for path, pixels in zip(paths, frames, strict=True):
        if pixels.shape[-2:] != shape or pixels.dtype.kind not in "iuf":
            raise damaged(path, f"expected {shape} pixels, got {pixels.shape[-2:]}")
        pixels = pixels.reshape(-1, *shape)
        found[path] = pixels.astype(np.float32) if pixels.dtype == np.float64 else pixels
    return found


def _not_unpacked(path: Path, why: str) -> UnreadableImage:
    """The error of compressed pixels: of their transfer syntax where GDCM has none, else of the file."""
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import UID

    with quietly():
        syntax = UID(str(read_file_meta_info(path).get("TransferSyntaxUID", "")))
    number = str(syntax) if re.fullmatch(r"[0-9.]{1,64}", syntax) else "without a valid UID"
    name = number if syntax.name == syntax else f"{syntax.name} ({number})"
    start, _, last = syntax.rpartition(".")
    if start != "1.2.840.10008.1.2.4" or last not in _JPEG:
        return UnreadableImage(
            f"{path}: expected pixels that are plain or JPEG, got the transfer syntax {name}, which cannot "
            "be unpacked; export it uncompressed"
        )
    why = re.sub(r"\(0x[0-9a-fA-F]+\)", "", why)  # an address, another one in every run
    return UnreadableImage(
        f"{path}: its pixels, compressed as {name}, cannot be unpacked: {why}; copy it again from its "
        "source, or export it uncompressed"
    )
