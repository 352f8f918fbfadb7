"""The voxels of a series."""

from __future__ import annotations

import hashlib
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from oahier.images.dicom import gdcm_worker
from oahier.images.dicom.headers import DEFLATED, PLAIN, RLE, Slice, quietly
from oahier.images.errors import HeaderFault, UnreadableImage, fault_words, reason
from oahier.images.payload import LARGEST, damaged

_JPEG = {"50", "51", "57", "70", "80", "81", "90", "91"}
"""Last numbers of the transfer syntaxes of JPEG, JPEG-LS and JPEG 2000 that GDCM unpacks."""

_PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
"""What GDCM is given of a file: it scales pixels too, but not every frame by its own slope."""

_SECONDS, _AT_ONCE = 600, 256
"""Until unpacking is given up, and files that one process unpacks."""


def stack(slices: Sequence[Slice]) -> Shaped[np.ndarray, "columns rows slices"]:
    """Voxels of sorted slices of one shape: along a row, along a column, across slices.

    Pixels are scaled as the header of their file, or frame, says. Whole numbers stay whole unless a fraction
    scales them; then float32.

    Raises:
        UnreadableImage: a file that is damaged, truncated or changed since its header was read.
    """
    rows, columns = slices[0].shape
    size = rows * columns * len(slices) * 2
    if size > LARGEST:
        raise UnreadableImage(
            f"{slices[0].path}: its headers ask for {size} bytes of voxels, a knee has less"
        )
    places: dict[Path, list[int]] = {}
    for number, one in enumerate(slices):
        places.setdefault(one.path, []).append(number)
    planes: dict[int, np.ndarray] = {}
    for path, frames in _stored({path: slices[numbers[0]] for path, numbers in places.items()}):
        for number in places[path]:
            planes[number] = _scaled(path, frames[slices[number].frame], *slices[number].rescale)
    kind = np.result_type(*{plane.dtype for plane in planes.values()})
    kind = np.dtype(np.float32) if kind.kind == "f" else kind
    volume = np.empty((columns, rows, len(slices)), dtype=kind, order="F")
    for number, plane in planes.items():
        volume[:, :, number] = plane.T
    return volume


def hashes(slices: Sequence[Slice]) -> dict[Path, str]:
    """A hash of the scaled pixels of each file, the same for every transfer syntax that loses nothing.

    Raises:
        UnreadableImage: a file that is damaged.
    """
    scales: dict[Path, list[Slice]] = {}
    for one in slices:
        scales.setdefault(one.path, []).append(one)
    found = {}
    for path, frames in _stored({path: group[0] for path, group in scales.items()}):
        digest = hashlib.sha256(repr(frames.shape).encode())
        for one in scales[path]:
            digest.update(_scaled(path, frames[one.frame], *one.rescale).astype("<f8").tobytes())
        found[path] = digest.hexdigest()
    return found


def _stored(files: dict[Path, Slice]) -> Iterator[tuple[Path, Shaped[np.ndarray, "frames rows columns"]]]:
    """Pixels of files as they are stored, in any order; each with a slice that its header told."""
    packed: dict[Path, Any] = {}
    waiting = iter(files.items())
    while batch := list(islice(waiting, _AT_ONCE)):
        for path, one in batch:
            found = _plain(path)
            if isinstance(found, np.ndarray):
                yield path, _checked(path, found, one)
            else:
                packed[path] = found
        if packed:
            yield from ((path, _checked(path, found, files[path])) for path, found in _unpacked(packed))
            packed.clear()


def _checked(path: Path, pixels: np.ndarray, wanted: Slice) -> np.ndarray:
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    if pixels.shape != (wanted.frames, *wanted.shape) or pixels.dtype.kind not in "iu":
        expected = f"{wanted.frames} frames of {wanted.shape} pixels"
        raise damaged(path, f"expected {expected}, got {len(pixels)} of {pixels.shape[1:]}")
    return pixels


def _plain(path: Path) -> Any:
    """Pixels of a file without bits that are no part of them; where GDCM has to unpack them, its header."""
    import pydicom

    try:
        with quietly():
            data: Any = pydicom.dcmread(path, force=True)
            bits = int(data.BitsAllocated)
            stored, high = int(data.get("BitsStored", bits)), int(data.get("HighBit", bits - 1))
            if bits not in (8, 16, 32) or not 1 <= stored <= bits or high != stored - 1:
                raise HeaderFault(f"{stored} bits up to bit {high} of {bits} per pixel")
            data.BitsStored, data.PixelRepresentation = stored, int(data.get("PixelRepresentation", 0))
            if "TransferSyntaxUID" not in data.file_meta:
                implicit, little = data.original_encoding
                data.file_meta.TransferSyntaxUID = PLAIN[0 if implicit else 1 if little else 2]
            if data.file_meta.TransferSyntaxUID in (*PLAIN, DEFLATED, RLE):
                return _decoded(data)
            _check_syntax(path, str(data.file_meta.TransferSyntaxUID))
            return data
    except UnreadableImage:
        raise
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise damaged(path, fault_words(error)) from error


def _decoded(data: Any) -> np.ndarray:
    from pydicom.pixels.utils import pixel_array

    plugin = "pydicom" if data.file_meta.TransferSyntaxUID == RLE else ""
    try:
        return np.asarray(pixel_array(data, raw=True, decoding_plugin=plugin, allow_excess_frames=False))
    except Exception as error:  # of the pixels, which quotes nothing of the header
        raise HeaderFault(reason(error)) from error


def _scaled(path: Path, pixels: np.ndarray, slope: float, offset: float) -> np.ndarray:
    if (slope, offset) == (1.0, 0.0):
        return pixels
    if not (math.isfinite(slope) and math.isfinite(offset) and slope):
        raise damaged(path, f"rescale slope {slope}, intercept {offset}")
    scaled = pixels * slope + offset
    if slope == int(slope) and offset == int(offset) and np.abs(scaled).max() < 1 << 31:
        return scaled.astype(np.int32)
    with np.errstate(over="ignore"):  # infinite values are reported with the other contents
        return scaled.astype(np.float32)


def _unpacked(files: dict[Path, Any]) -> Iterator[tuple[Path, np.ndarray]]:
    """Pixels unpacked by GDCM, in a process of its own that damaged files may take down."""
    paths = list(files)
    with tempfile.TemporaryDirectory() as folder:
        for number, (path, data) in enumerate(files.items()):
            try:
                _write_bare(Path(folder, f"{number}.dcm"), data)
            except Exception as error:  # pydicom raises many kinds for damaged files
                raise damaged(path, fault_words(error)) from error
        command = [sys.executable, str(gdcm_worker.__file__), folder, str(len(files))]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise damaged(paths[0], f"its compressed pixels: {reason(error)}") from error
        if done.returncode:
            path = paths[min(len(list(Path(folder).glob("*.npy"))), len(paths) - 1)]
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"GDCM ended with {done.returncode}"
            why = re.sub(r"\(0x[0-9a-fA-F]+\)", "", why)  # an address, another one in every run
            syntax = _name(str(files[path].file_meta.TransferSyntaxUID))
            raise UnreadableImage(
                f"{path}: its pixels, compressed as {syntax}, cannot be unpacked: {why}; copy it again from "
                "its source, or export it uncompressed"
            )
        for number, path in enumerate(files):
            yield path, np.load(Path(folder, f"{number}.npy"))


def _write_bare(path: Path, data: Any) -> None:
    """Write the pixels with what tells their form, and nothing else of the header."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, MRImageStorage, MultiFrameGrayscaleWordSecondaryCaptureImageStorage

    bare, bare.file_meta = Dataset(), FileMetaDataset()
    bare.update({element.tag: element for element in map(data.get_item, filter(data.__contains__, _PIXELS))})
    several = int(data.get("NumberOfFrames") or 1) > 1
    kind = MultiFrameGrayscaleWordSecondaryCaptureImageStorage if several else MRImageStorage
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = kind
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    bare.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    with quietly():
        bare.save_as(path, enforce_file_format=True)


def _check_syntax(path: Path, syntax: str) -> None:
    """Refuse a transfer syntax that GDCM does not know."""
    start, _, last = syntax.rpartition(".")
    if start != "1.2.840.10008.1.2.4" or last not in _JPEG:
        raise UnreadableImage(
            f"{path}: expected pixels that are plain or JPEG, got the transfer syntax {_name(syntax)}, which "
            "cannot be unpacked; export it uncompressed"
        )


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    number = syntax if re.fullmatch(r"[0-9.]{1,64}", syntax) else "without a valid UID"
    return number if UID(syntax).name == syntax else f"{UID(syntax).name} ({number})"
