"""NIfTI 1 and 2, in one file or as a pair, unpacked in memory.

Nothing is padded: a file that is truncated, has a wrong checksum, or holds more or less than its header says
is an error (ITK fills up with zeros in silence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oahier.images import payload
from oahier.images.errors import UnreadableImage, reason
from oahier.images.grid import Affine, Grid
from oahier.images.image import Image, three_axes, turned_grid, turned_to_ras

_HEADER = 544
"""Bytes that hold the header of either version."""

ASSUMED_ORIENTATION = (
    "the header does not say how the voxels lie, so left and right, front and back are assumed: look at its "
    "pictures, and set the orientation if they are wrong"
)

_LENGTHS_AGREE = 0.1
"""Relative difference of voxel sizes up to which two affines say the same."""

_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Unit codes: unknown, metre, millimetre, micrometre."""


@dataclass(frozen=True)
class _Layout:
    """What a header says, checked."""

    shape: tuple[int, ...]
    affine: Affine
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float

    @property
    def end(self) -> int:
        """Bytes from the start of the file to behind the last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_nifti(path: Path) -> Image:
    """Read a ``.nii``, ``.nii.gz`` or ``.hdr``/``.img`` file; gzip is recognised by its content.

    Raises:
        UnreadableImage: damaged, not 3D, not one number per voxel, or no NIfTI file.
    """
    header, voxels = nifti_files(path)
    packed = payload.file_bytes(header)
    layout = _layout(path, _first(header, packed), pair=header != voxels)
    shape = three_axes(path, layout.shape)
    if header != voxels:
        packed = payload.file_bytes(voxels)
    raw: Any
    if payload.is_gzip(packed):
        raw = payload.unpacked(voxels, packed, layout.end, payload.GZIP)[layout.offset :]
    else:
        raw = memoryview(packed)[layout.offset :]
    stored = payload.voxels(voxels, raw, layout.dtype, shape)
    data = payload.in_single(payload.rescaled(stored, layout.slope, layout.intercept))
    return turned_to_ras(path, data, layout.affine)


def read_nifti_grid(path: Path) -> Grid:
    """Grid after the axes are turned to RAS+; of the file only the header is unpacked."""
    header, voxels = nifti_files(path)
    try:
        with header.open("rb") as stream:
            packed = stream.read(64 << 10)
        held = voxels.stat().st_size
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {reason(error)}") from error
    layout = _layout(path, _first(header, packed), pair=header != voxels)
    shape = three_axes(path, layout.shape)
    if header == voxels and not payload.is_gzip(packed):
        payload.check_size(path, layout.end, held)
    return turned_grid(path, shape, layout.affine)


def nifti_orientation_doubt(path: Path) -> str:
    """Why the axes are uncertain: neither affine of the header is set, or its two affines disagree."""
    from nibabel.orientations import aff2axcodes

    header, voxels = nifti_files(path)
    found = _header(path, _first(header, payload.first_bytes(header, 64 << 10)), pair=header != voxels)
    set_codes = int(found["sform_code"]) > 0, int(found["qform_code"]) > 0
    if not any(set_codes):
        return ASSUMED_ORIENTATION
    if not all(set_codes):
        return ""
    try:
        affines = found.get_sform(), found.get_qform()
        axes = ["".join(str(code) for code in aff2axcodes(affine)) for affine in affines]
    except Exception:  # nibabel raises several kinds for impossible numbers, which reading complains of
        return ""
    lengths = [np.linalg.norm(affine[:3, :3], axis=0) for affine in affines]
    if axes[0] == axes[1] and np.allclose(lengths[0], lengths[1], rtol=_LENGTHS_AGREE):
        return ""
    told = [f"{a}, {' x '.join(f'{one:.3g}' for one in n)} mm" for a, n in zip(axes, lengths, strict=True)]
    return (
        f"the two affines of its header disagree: sform {told[0]}; qform {told[1]}; the sform was taken: "
        "look at its pictures, and correct the header if they are wrong"
    )


def nifti_files(path: Path) -> tuple[Path, Path]:
    """The files of header and voxels, which are one for ``.nii``."""
    if path.suffix.lower() == ".hdr":
        return path, path.with_suffix(".img" if path.suffix == ".hdr" else ".IMG")
    if path.suffix.lower() == ".img":
        return path.with_suffix(".hdr" if path.suffix == ".img" else ".HDR"), path
    return path, path


def _first(path: Path, packed: bytes) -> bytes:
    return payload.start_of(path, packed, _HEADER) if payload.is_gzip(packed) else packed[:_HEADER]


def _layout(path: Path, first: bytes, *, pair: bool) -> _Layout:
    """Check everything that the header says before any voxel is touched."""
    header = _header(path, first, pair=pair)
    dims = [int(count) for count in header["dim"]]
    if not 1 <= dims[0] <= 7 or any(count < 1 for count in dims[1 : dims[0] + 1]):
        raise _not_nifti(path, f"impossible dimensions {dims}")
    dtype = _number_type(path, header)
    offset = float(header["vox_offset"])
    least = 0 if pair else int(header["sizeof_hdr"]) + 4
    offset = float(least) if offset == 0 else offset
    if not (math.isfinite(offset) and offset == int(offset) and least <= offset < 1 << 40):
        raise _not_nifti(path, f"voxels start at byte {offset:g}, expected {least} or more")
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64).copy()
        slope, intercept = header.get_slope_inter()
    except Exception as error:  # nibabel raises several kinds for impossible numbers
        raise _not_nifti(path, reason(error)) from error
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & 7, math.nan)
    return _Layout(
        tuple(dims[1 : dims[0] + 1]),
        affine,
        dtype,
        int(offset),
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _header(path: Path, first: bytes, *, pair: bool) -> Any:
    import nibabel

    sizes = {first[:4][::step] for step in (1, -1)}
    second = (540).to_bytes(4, "little") in sizes
    kind: Any = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    length = 540 if second else 348
    if len(first) < length:
        raise _not_nifti(path, f"it holds {len(first)} bytes, its header alone has {length}")
    if length.to_bytes(4, "little") not in sizes:
        raise _not_nifti(path, f"it starts with the bytes {first[:4].hex(' ')}")
    try:
        header = kind(first[:length], check=False)
    except Exception as error:  # nibabel raises several kinds for impossible numbers
        raise _not_nifti(path, reason(error)) from error
    magic = bytes(header["magic"].item())
    expected = (b"ni" if pair else b"n+") + (b"2" if second else b"1")
    if magic[:4].rstrip(b"\0") != expected:
        why = f"expected the magic {expected!r}, got {magic!r} (Analyze 7.5 has none, and no orientation)"
        raise _not_nifti(path, why)
    return header


def _number_type(path: Path, header: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel raises several kinds for unknown codes
        raise _not_nifti(path, f"unknown data type {int(header['datatype'])}") from error
    if dtype.fields is not None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise UnreadableImage(f"{path}: expected one number per voxel, got {dtype}")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise _not_nifti(path, f"{int(header['bitpix'])} bits per voxel of type {dtype}")
    return dtype


def _not_nifti(path: Path, why: str) -> UnreadableImage:
    return UnreadableImage(f"{path} is not a readable NIfTI file: {why}")
