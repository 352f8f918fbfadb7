"""Files that make an image: all that has to be looked at to know that it is still the same one."""

from __future__ import annotations

import os
from pathlib import Path

from oahier.images import payload
from oahier.images.errors import INSIST, UnreadableImage
from oahier.images.formats import TEXT, text_layout
from oahier.images.nifti import nifti_files

_USUAL_HEADER, _LONGEST_HEADER = 1 << 12, 1 << 20


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


def _data_files(path: Path) -> tuple[Path, ...]:
    """What the header names; most headers are short, and the file may be large or far away."""
    for count in (_USUAL_HEADER, _LONGEST_HEADER):
        try:
            layout = text_layout(path, payload.first_bytes(path, count), INSIST)
            return tuple(payload.beside(path, name) for name in layout.files)
        except UnreadableImage:
            continue
    return ()
