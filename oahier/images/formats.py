"""Readers of image files by format, and the files that make an image."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from oahier.images import payload
from oahier.images.dicom import read_single
from oahier.images.errors import INSIST, UnreadableImage
from oahier.images.grid import Grid
from oahier.images.image import Image, turned_grid
from oahier.images.metaimage import metaimage_layout
from oahier.images.nifti import nifti_files, read_nifti, read_nifti_grid
from oahier.images.nrrd import nrrd_layout
from oahier.images.text_header import LONGEST, BadHeader
from oahier.images.voxels import Layout, read_voxels

NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
_TEXT = {
    ".nrrd": ("NRRD", nrrd_layout), ".nhdr": ("NRRD", nrrd_layout),
    ".mha": ("MetaImage", metaimage_layout), ".mhd": ("MetaImage", metaimage_layout),
}  # fmt: skip
TEXT = tuple(_TEXT)
_USUAL_HEADER = 1 << 12
"""Bytes within which most headers end."""


def read_image(path: Path, insist: Collection[str] = ()) -> Image:
    """Read one 3D image and turn its axes to the nearest of right, anterior, superior, without resampling.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.hdr``/``.img``, ``.nrrd``, ``.nhdr``, ``.mha``, ``.mhd``, a folder
            with one DICOM series (its own files, not those of folders in it), a ``.zip`` with one in any
            folder, or a DICOM file of many frames.
        insist: kinds of errors in spite of which a file is read: ``fields`` of its text header that are
            unknown or repeated; a ``tail`` of bytes behind the voxels that may be voxels too; of DICOM those
            of :func:`oahier.images.dicom.find_series`.

    Raises:
        UnreadableImage: damaged, truncated, not 3D, sheared, or of an unknown kind; of a DICOM folder also
            what :func:`oahier.images.dicom.series_faults` finds, or several series.
    """
    name = path.name.lower()
    if not path.is_dir():
        if name.endswith(NIFTI):
            return read_nifti(path, insist)
        if name.endswith(TEXT):
            content = payload.file_bytes(path)
            return read_voxels(path, content, text_layout(path, content, insist), insist)
    if path.is_dir() or name.endswith(".zip") or _is_dicom(path):
        return read_single(path, insist)
    raise UnreadableImage(
        f"{path}: unknown kind of image; expected a file ending in {', '.join((*NIFTI, *TEXT))}, a DICOM "
        "folder or a DICOM file. Convert other formats to .nii.gz"
    )


def read_grid(path: Path) -> Grid:
    """Grid of an image after its axes are turned to RAS+; reads headers only, but of DICOM everything.

    Raises:
        UnreadableImage: as :func:`read_image`, as far as the header shows it.
    """
    name = path.name.lower()
    if path.is_file() and name.endswith(NIFTI):
        return read_nifti_grid(path)
    if path.is_file() and name.endswith(TEXT):
        layout = text_layout(path, payload.first_bytes(path, LONGEST))
        return turned_grid(path, layout.shape, layout.affine)
    return read_image(path).grid


def image_files(path: Path) -> tuple[Path, ...]:
    """The regular files that hold an image.

    Args:
        path: as :func:`~oahier.images.read_image` takes it.

    Returns:
        the file itself; header and voxels, where these are several files; of a DICOM folder its own files, by
        name. What a damaged header names, and what is not there, is left to reading to complain about.

    Raises:
        OSError: the folder cannot be listed.
    """
    if path.is_dir():
        with os.scandir(path) as listed:
            return tuple(sorted(path / entry.name for entry in listed if entry.is_file()))
    if path.name.lower().endswith(TEXT):
        return (path, *_data_files(path))
    pair = nifti_files(path)
    return tuple(file for file in dict.fromkeys(pair) if file == path or file.is_file())


def text_layout(path: Path, content: bytes, insist: Collection[str] = ()) -> Layout:
    """What the text header at the start of a file says.

    Raises:
        UnreadableImage: it cannot be understood.
    """
    kind, layout = _TEXT[path.suffix.lower()]
    try:
        return layout(path, content, insist)
    except BadHeader as error:
        raise UnreadableImage(f"{path} is not a readable {kind} file: {error}") from error


def _is_dicom(path: Path) -> bool:
    payload.check_file(path)
    return payload.first_bytes(path, 132)[128:] == b"DICM"


def _data_files(path: Path) -> tuple[Path, ...]:
    """What the header names; most headers are short, and the file may be large or far away."""
    for count in (_USUAL_HEADER, LONGEST):
        try:
            layout = text_layout(path, payload.first_bytes(path, count), INSIST)
            return tuple(payload.beside(path, name) for name in layout.files)
        except UnreadableImage:
            continue
    return ()
