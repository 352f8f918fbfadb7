"""Readers of image files by format."""

from __future__ import annotations

from pathlib import Path

from oahier.images.dicom import read_single
from oahier.images.errors import UnreadableImage, reason
from oahier.images.grid import Grid
from oahier.images.image import Image
from oahier.images.metaimage import read_metaimage, read_metaimage_grid
from oahier.images.nifti import (
    ASSUMED_ORIENTATION,
    nifti_orientation_doubt,
    read_nifti,
    read_nifti_grid,
)
from oahier.images.nrrd import nrrd_says_orientation, read_nrrd, read_nrrd_grid

_SUFFIXES = {
    (".nii", ".nii.gz", ".hdr", ".img"): (read_nifti, read_nifti_grid),
    (".nrrd", ".nhdr"): (read_nrrd, read_nrrd_grid),
    (".mha", ".mhd"): (read_metaimage, read_metaimage_grid),
}


def read_image(path: Path) -> Image:
    """Read one 3D image and turn its axes to the nearest of right, anterior, superior, without resampling.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.hdr``/``.img``, ``.nrrd``, ``.nhdr``, ``.mha``, ``.mhd``, a folder
            with one DICOM series (its own files, not those of folders in it), or a DICOM file of many frames.

    Raises:
        UnreadableImage: damaged, truncated, not 3D, sheared, or of an unknown kind; of a DICOM folder also
            what :func:`oahier.images.dicom.series_faults` finds, or several series.
    """
    for suffixes, (read, _) in _SUFFIXES.items():
        if path.name.lower().endswith(suffixes) and not path.is_dir():
            return read(path)
    if path.is_dir() or _is_dicom(path):
        return read_single(path)
    known = ", ".join(suffix for suffixes in _SUFFIXES for suffix in suffixes)
    raise UnreadableImage(
        f"{path}: unknown kind of image; expected a file ending in {known}, a DICOM folder or a DICOM file. "
        "Convert other formats to .nii.gz"
    )


def read_grid(path: Path) -> Grid:
    """Grid of an image after its axes are turned to RAS+; reads headers only, but of DICOM everything.

    Raises:
        UnreadableImage: as :func:`read_image`, as far as the header shows it.
    """
    for suffixes, (_, read) in _SUFFIXES.items():
        if path.name.lower().endswith(suffixes) and path.is_file():
            return read(path)
    return read_image(path).grid


def orientation_doubt(path: Path) -> str:
    """Why the axes of an image are uncertain, empty if they are not.

    NIfTI may have no affine, or two that disagree; NRRD may name no space.

    Raises:
        UnreadableImage: the header cannot be read.
    """
    name = path.name.lower()
    if path.is_dir():
        return ""
    if name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return nifti_orientation_doubt(path)
    if name.endswith((".nrrd", ".nhdr")) and not nrrd_says_orientation(path):
        return ASSUMED_ORIENTATION
    return ""


def _is_dicom(path: Path) -> bool:
    try:
        if not path.is_file():
            raise UnreadableImage(f"{path} cannot be read: no such file or directory")
        with path.open("rb") as stream:
            start = stream.read(132)
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableImage):
            raise
        raise UnreadableImage(f"{path} cannot be read: {reason(error)}") from error
    return start[128:] == b"DICM"
