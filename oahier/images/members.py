"""Files that make an image: all that has to be looked at to know that it is still the same one."""

from __future__ import annotations

import os
from pathlib import Path

from oahier.images import payload
from oahier.images.errors import UnreadableImage
from oahier.images.metaimage import metaimage_data_file
from oahier.images.nifti import nifti_files
from oahier.images.nrrd import nrrd_data_file

_DATA_FILE = {
    ".mhd": metaimage_data_file,
    ".mha": metaimage_data_file,
    ".nhdr": nrrd_data_file,
    ".nrrd": nrrd_data_file,
}
_USUAL_HEADER, _LONGEST_HEADER = 1 << 12, 1 << 20


def image_files(path: Path) -> tuple[Path, ...]:
    """The regular files that hold an image.

    Args:
        path: as :func:`~oahier.images.read_image` takes it.

    Returns:
        the file itself; header and voxels, where these are two files; of a DICOM folder its own files, by
        name. What a damaged header names, and what is not there, is left to reading to complain about.

    Raises:
        OSError: the folder cannot be listed.
    """
    if path.is_dir():
        with os.scandir(path) as listed:
            return tuple(sorted(path / entry.name for entry in listed if entry.is_file()))
    suffix = path.suffix.lower()
    if suffix in (".hdr", ".img"):
        return tuple(file for file in nifti_files(path) if file == path or file.is_file())
    if suffix in _DATA_FILE:
        voxels = _data_file(path, suffix)
        return (path,) if voxels is None else (path, voxels)
    return (path,)


def _data_file(path: Path, suffix: str) -> Path | None:
    """What the header names; most headers are short, and the file may be large or far away."""
    for count in (_USUAL_HEADER, _LONGEST_HEADER):
        try:
            return _DATA_FILE[suffix](path, payload.first_bytes(path, count))
        except UnreadableImage:
            continue
    return None
