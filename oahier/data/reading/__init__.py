"""Reading image files: NIfTI, NRRD, MetaImage and DICOM folders, always oriented RAS+.

NIfTI is unpacked in memory, so that a truncated or corrupted file is an error (ITK pads it with zeros in
silence); the rest goes through SimpleITK.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

Affine = Float64[np.ndarray, "4 4"]

_ORTHOGONAL = 1e-3
"""Largest cosine between two voxel axes that still counts as a right angle."""


class UnreadableImage(ValueError):
    """The file cannot be read as one 3D image; the message says why."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: ``affine`` maps voxel indices to millimetres (RAS+)."""

    shape: tuple[int, ...]
    affine: Affine

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel along i, j, k."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def extent(self) -> tuple[float, ...]:
        """Millimetres from edge to edge along i, j, k."""
        return tuple(count * length for count, length in zip(self.shape, self.spacing, strict=True))

    def same_as(self, other: Grid, tolerance: float = 0.1) -> bool:
        """True if shapes are equal and no corner is off by more than ``tolerance`` voxels."""
        if self.shape != other.shape:
            return False
        corners = np.array(
            np.meshgrid(*[(0, count - 1) for count in self.shape], [1], indexing="ij")
        ).reshape(4, -1)
        off = np.linalg.norm(((self.affine - other.affine) @ corners)[:3], axis=0).max()
        return bool(off <= tolerance * min(self.spacing))


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels ``(i, j, k)`` in the type of the file, and their grid."""

    data: Shaped[np.ndarray, "i j k"]
    grid: Grid


def read_image(path: Path) -> Image:
    """Read one 3D image and turn its axes to the nearest of right, anterior, superior, without resampling.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mhd``, anything else SimpleITK knows, or a
            folder with one DICOM series.

    Raises:
        UnreadableImage: damaged, truncated, not 3D, sheared, or of an unknown kind.
    """
    if path.is_dir():
        data, affine = _read_dicom(path)
    elif path.name.lower().endswith((".nii", ".nii.gz")):
        data, affine = _read_nifti(path)
    else:
        data, affine = _read_itk(path)
    return _to_ras(path, data, affine)


def read_grid(path: Path) -> Grid:
    """Grid of an image after its axes are turned to RAS+; reads the header only where the format allows.

    Raises:
        UnreadableImage: as :func:`read_image`.
    """
    if path.is_dir() or not path.name.lower().endswith((".nii", ".nii.gz")):
        return read_image(path).grid
    import nibabel

    try:
        image: Any = nibabel.load(path)
        shape, affine = tuple(image.shape), np.asarray(image.affine, dtype=np.float64)
    except Exception as error:
        raise UnreadableImage(f"{path} is not a readable NIfTI file: {_reason(error)}") from error
    return _to_ras(path, np.broadcast_to(np.zeros((), dtype=np.uint8), _three(path, shape)), affine).grid


def _read_nifti(path: Path) -> tuple[np.ndarray, Affine]:
    import nibabel

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {_reason(error)}") from error
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        kind = (
            nibabel.Nifti2Image
            if content[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
            else nibabel.Nifti1Image
        )
        image: Any = kind.from_bytes(content)
        shape = _three(path, tuple(image.shape))
        data = np.asanyarray(image.dataobj)
    except UnreadableImage:
        raise
    except (EOFError, OSError, zlib.error) as error:
        raise UnreadableImage(
            f"{path} is truncated or damaged: {_reason(error)}; copy it again from its source"
        ) from error
    except Exception as error:
        raise UnreadableImage(f"{path} is not a readable NIfTI file: {_reason(error)}") from error
    if data.dtype.fields is not None or data.dtype.kind not in "biuf":
        raise UnreadableImage(f"{path}: expected one number per voxel, got {data.dtype}")
    if data.dtype == np.float64:
        with np.errstate(over="ignore"):  # infinite values are reported with the other contents
            data = data.astype(np.float32)
    return data.reshape(shape), np.asarray(image.affine, dtype=np.float64)


def _read_itk(path: Path) -> tuple[np.ndarray, Affine]:
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableImage(f"{path} cannot be read: {_reason(error)}") from error
    return _from_itk(path, image)


def _read_dicom(path: Path) -> tuple[np.ndarray, Affine]:
    """Read a folder that holds exactly one series, whose slices are evenly spaced."""
    import SimpleITK as sitk

    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if len(series) != 1:
        raise UnreadableImage(
            f"{path}: expected a folder with one DICOM series, got {len(series)}; keep one series per folder"
        )
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))
    reader.MetaDataDictionaryArrayUpdateOn()
    display = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.GlobalWarningDisplayOff()  # it warns of a thousandth of a millimetre; we check below
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UnreadableImage(f"{path}: the DICOM series cannot be read: {_reason(error)}") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(display)
    _check_even_slices(path, reader, image)
    return _from_itk(path, image)


def _check_even_slices(path: Path, reader: Any, image: Any) -> None:
    """ITK takes the distance of the first two slices for all; refuse a series where that is wrong."""
    tag, count = "0020|0032", image.GetSize()[2]
    if count < 3 or not all(reader.HasMetaDataKey(i, tag) for i in range(count)):
        return
    origins = np.array([[float(x) for x in reader.GetMetaData(i, tag).split("\\")] for i in range(count)])
    gaps = np.linalg.norm(np.diff(origins, axis=0), axis=1)
    if gaps.max() - gaps.min() > 0.05 * np.median(gaps):
        raise UnreadableImage(
            f"{path}: slices are {gaps.min():.3f} to {gaps.max():.3f} mm apart, expected an even distance; "
            "are files missing, or two series mixed?"
        )


def _from_itk(path: Path, image: Any) -> tuple[np.ndarray, Affine]:
    import SimpleITK as sitk

    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UnreadableImage(
            f"{path}: expected one number per voxel, got {image.GetNumberOfComponentsPerPixel()}"
        )
    shape = _three(path, tuple(image.GetSize()))
    data = sitk.GetArrayFromImage(image)
    data = data.reshape(tuple(reversed(shape))).transpose()
    to_ras = np.diag([-1.0, -1.0, 1.0])  # ITK counts towards left and posterior
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ direction * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = to_ras @ np.array(image.GetOrigin())[:3]
    return data, affine


def _three(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without trailing axes of length 1, which must leave three axes of two voxels or more."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        kind = f"{len(shape)}D" if len(shape) != 3 else "single-slice"
        raise UnreadableImage(
            f"{path}: expected a 3D volume, got a {kind} image of {' x '.join(map(str, shape))}; "
            "give one volume (time point, echo) per row"
        )
    return shape


def _to_ras(path: Path, data: np.ndarray, affine: Affine) -> Image:
    """Permute and flip the axes, as views, and correct the affine for it."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or (lengths < 1e-6).any():
        raise UnreadableImage(
            f"{path}: expected a finite voxel size above 0 in the header, got the affine {affine.tolist()}"
        )
    cosines = (axes / lengths).T @ (axes / lengths)
    if np.abs(cosines - np.eye(3)).max() > _ORTHOGONAL:
        raise UnreadableImage(
            f"{path}: expected voxel axes at right angles, got a sheared grid; resample the image first"
        )
    orientation = io_orientation(affine)
    turned = affine @ inv_ornt_aff(orientation, data.shape)
    ras = apply_orientation(data, orientation)
    return Image(ras, Grid(tuple(int(count) for count in ras.shape), np.asarray(turned, dtype=np.float64)))


def _reason(error: BaseException) -> str:
    """The last line that says something: ITK puts source locations before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
