"""Writing volumes as NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Num

from oahier.files import write_atomically
from oahier.images.grid import Affine

_KEPT = (np.uint8, np.int16, np.float32)


def write_image(
    path: Path | str, values: Num[np.ndarray, "i j k"] | Bool[np.ndarray, "i j k"], affine: Affine
) -> Path:
    """Write a ``.nii.gz`` file (``.nii`` without compression), completely or not at all.

    The same values give the same bytes. uint8, int16 and float32 stay as they are; truth values become uint8,
    other whole numbers the smallest of uint8, int16 and int32 that holds them, other floats float32.

    Args:
        path: the file; missing folders are made.
        values: voxels in any axis order; for an overlay on a file's own grid give
            ``image.in_source_axes(values)`` and ``image.source.affine``.
        affine: voxels to millimetres (RAS+), stored as both sform and qform (code 1, scanner).

    Raises:
        ValueError: another suffix, or whole numbers beyond int32.
        OSError: the file cannot be written.
    """
    from isal import igzip

    path = Path(path)
    if not path.name.lower().endswith((".nii.gz", ".nii")):
        raise ValueError(f"expected a file name ending in .nii.gz or .nii, got {path.name!r}")
    content = nifti_bytes(values.astype(_storable(path, values), copy=False), affine)
    if path.name.lower().endswith(".gz"):
        content = igzip.compress(content, compresslevel=1, mtime=0)
    return write_atomically(path, content)


def nifti_bytes(values: Num[np.ndarray, "i j k"], affine: Affine) -> bytes:
    """A NIfTI file whose header says nothing but shape, type and place; millimetres, sform and qform."""
    import nibabel

    image: Any = nibabel.Nifti1Image(values, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return content


def _storable(path: Path, values: np.ndarray) -> np.dtype[Any]:
    if values.dtype in _KEPT:
        return values.dtype
    if values.dtype.kind == "f":
        return np.dtype(np.float32)
    if values.dtype.kind == "b" or not values.size:
        return np.dtype(np.uint8)
    low, high = int(values.min()), int(values.max())
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise ValueError(f"{path}: expected whole numbers that 32 bits hold, got {low} to {high}")
