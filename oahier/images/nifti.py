"""NIfTI 1 and 2, in one file or as a pair, unpacked in memory.

Nothing is padded: a file that is truncated or has a wrong checksum is an error (ITK fills up with zeros in
silence). Headers are repaired as nibabel and NIfTI's own library repair them, with a note.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from oahier.images import payload
from oahier.images.errors import UnreadableImage, reason
from oahier.images.grid import Affine, Grid
from oahier.images.image import ASSUMED_ORIENTATION, Image, three_axes, turned_grid
from oahier.images.voxels import Layout, read_voxels

_HEADER = 544
"""Bytes that hold the header of either version."""

_LENGTHS_AGREE = 0.1
"""Relative difference of voxel sizes up to which two affines say the same."""

_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Unit codes: unknown, metre, millimetre, micrometre."""

_QUATERNION = 1e-3
"""Length above 1, squared, up to which a quaternion is taken for one of length 1."""


def read_nifti(path: Path, insist: Collection[str] = ()) -> Image:
    """Read a ``.nii``, ``.nii.gz`` or ``.hdr``/``.img`` file; gzip is recognised by its content.

    Raises:
        UnreadableImage: damaged, not 3D, not one number per voxel, or no NIfTI file.
    """
    header, voxels = nifti_files(path)
    content = payload.file_bytes(header)
    first = _first(header, content)
    if header != voxels:
        content = payload.file_bytes(voxels)
    layout = _layout(path, first, pair=header != voxels, packed=payload.is_gzip(content))
    return read_voxels(voxels, content, layout, insist)


def read_nifti_grid(path: Path) -> Grid:
    """Grid after the axes are turned to RAS+; of the file only the header is unpacked."""
    header, voxels = nifti_files(path)
    start, packed = payload.first_bytes(header, 64 << 10), payload.is_gzip(payload.first_bytes(voxels, 2))
    layout = _layout(path, _first(header, start), pair=header != voxels, packed=packed)
    if not packed:
        payload.check_size(path, layout.offset + layout.count, voxels.stat().st_size)
    return turned_grid(path, layout.shape, layout.affine)


def nifti_files(path: Path) -> tuple[Path, Path]:
    """The files of header and voxels, which are one for ``.nii``; either of a pair may be packed.

    >>> [file.name for file in nifti_files(Path("knee.HDR"))]
    ['knee.HDR', 'knee.IMG']
    """
    name, dot, packed = path.name, "", ""
    if name.lower().endswith(".gz"):
        name, dot, packed = name[:-3], ".", name[-2:]
    suffix = name[-4:]
    if suffix.lower() not in (".hdr", ".img"):
        return path, path
    other = {".hdr": ".img", ".img": ".hdr"}[suffix.lower()]
    other = name[:-4] + (other if suffix.islower() else other.upper())
    beside = [path.with_name(other + end) for end in (dot + packed, "", ".gz")]
    found = next((file for file in beside if file.is_file()), beside[0])
    return (path, found) if suffix.lower() == ".hdr" else (found, path)


def _first(path: Path, packed: bytes) -> bytes:
    return payload.start_of(path, packed, _HEADER) if payload.is_gzip(packed) else packed[:_HEADER]


def _layout(path: Path, first: bytes, *, pair: bool, packed: bool) -> Layout:
    """Check everything that the header says before any voxel is touched."""
    header, notes = _header(path, first, pair=pair)
    dims = [int(count) for count in header["dim"]]
    if not 1 <= dims[0] <= 7 or any(count < 1 for count in dims[1 : dims[0] + 1]):
        raise _not_nifti(path, f"impossible dimensions {dims}")
    dtype = _number_type(path, header, notes)
    offset = float(header["vox_offset"])
    least = 0 if pair else int(header["sizeof_hdr"]) + 4
    offset = float(least) if offset == 0 else offset
    if not (math.isfinite(offset) and offset == int(offset) and least <= offset < 1 << 40):
        raise _not_nifti(path, f"voxels start at byte {offset:g}, expected {least} or more")
    try:
        affine = _affine(header, notes)
        slope, intercept = header.get_slope_inter()
    except Exception as error:  # nibabel raises several kinds for impossible numbers
        raise _not_nifti(path, reason(error)) from error
    unit = int(header["xyzt_units"]) & 7
    if unit not in _MILLIMETRES:
        notes.append(f"its header has the unknown unit {unit}, millimetres are assumed")
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)
    return Layout(
        shape=three_axes(path, tuple(dims[1 : dims[0] + 1])),
        affine=affine,
        dtype=dtype,
        packing="gzip" if packed else "raw",
        offset=int(offset),
        least=least,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        notes=tuple(notes),
    )


def _header(path: Path, first: bytes, *, pair: bool) -> tuple[Any, list[str]]:
    """A header repaired as far as it says what is meant, and what was repaired."""
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
    magic, version = bytes(header["magic"].item())[:4].rstrip(b"\0"), b"2" if second else b"1"
    expected, other = (b"ni", b"n+")[:: 1 if pair else -1]
    if magic not in (expected + version, other + version):
        why = f"expected the magic {expected + version!r}, got {magic!r}"
        raise _not_nifti(path, f"{why} (Analyze 7.5 has none, and no orientation)")
    notes = (
        [] if magic == expected + version else [f"its header has the magic {magic!r} of another kind of file"]
    )
    lengths = header["pixdim"]
    if lengths[0] not in (-1, 0, 1):
        notes.append(f"pixdim[0] of its header was {lengths[0]:g}, its sign was taken")
    lengths[0] = -1 if lengths[0] < 0 else 1  # NIfTI's nifti1.h: 0 means 1
    if (lengths[1:4] < 0).any():
        notes.append(
            "its header had negative sizes of voxels; their signs were dropped: look at its pictures"
        )
        lengths[1:4] = np.abs(lengths[1:4])
    quaternion = np.array([header[f"quatern_{letter}"] for letter in "bcd"], dtype=np.float64)
    if 1 + 1e-7 < (total := quaternion @ quaternion) <= 1 + _QUATERNION:
        notes.append(f"the quaternion of its header was longer than 1 by {np.sqrt(total) - 1:.2g}")
        for letter, value in zip("bcd", quaternion / np.sqrt(total), strict=True):
            header[f"quatern_{letter}"] = value
    return header, notes


def _affine(header: Any, notes: list[str]) -> Affine:
    """The affine that readers prefer, the sform, if it can be used; doubts about it are noted."""
    codes, sform = [int(header[name]) > 0 for name in ("sform_code", "qform_code")], header.get_sform()
    if all(codes) and not _usable(sform):
        notes.append("the sform of its header has an axis without length, the qform was taken")
        codes[0] = False
    if not any(codes):
        notes.append(ASSUMED_ORIENTATION)
        return np.array(header.get_base_affine(), dtype=np.float64)
    affine = np.array(sform if codes[0] else header.get_qform(), dtype=np.float64)
    if codes[0] and codes[1] and (doubt := _disagreement(sform, header)):
        notes.append(doubt)
    return affine


def _usable(affine: Affine) -> bool:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.isfinite(lengths).all() and (lengths > 1e-6).all())


def _disagreement(sform: Affine, header: Any) -> str:
    """How the two affines of a header differ, empty if they do not."""
    from nibabel.orientations import aff2axcodes

    try:
        affines = sform, header.get_qform()
        axes = ["".join(str(code) for code in aff2axcodes(affine)) for affine in affines]
    except Exception:  # nibabel raises several kinds for impossible numbers; the sform is used
        return ""
    lengths = [np.linalg.norm(affine[:3, :3], axis=0) for affine in affines]
    if axes[0] == axes[1] and np.allclose(lengths[0], lengths[1], rtol=_LENGTHS_AGREE):
        return ""
    told = [f"{a}, {' x '.join(f'{one:.3g}' for one in n)} mm" for a, n in zip(axes, lengths, strict=True)]
    return (
        f"the two affines of its header disagree: sform {told[0]}; qform {told[1]}; the sform was taken: "
        "look at its pictures, and correct the header if they are wrong"
    )


def _number_type(path: Path, header: Any, notes: list[str]) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel raises several kinds for unknown codes
        raise _not_nifti(path, f"unknown data type {int(header['datatype'])}") from error
    if dtype.fields is not None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise UnreadableImage(f"{path}: expected one number per voxel, got {dtype}")
    if (bits := int(header["bitpix"])) != 8 * dtype.itemsize:
        notes.append(f"its header had {bits} bits per voxel of type {dtype}, {8 * dtype.itemsize} were read")
    return dtype


def _not_nifti(path: Path, why: str) -> UnreadableImage:
    return UnreadableImage(f"{path} is not a readable NIfTI file: {why}")
