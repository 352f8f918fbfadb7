"""Reading image files: NIfTI, NRRD, MetaImage and DICOM, always oriented RAS+.

Every format is taken apart here rather than by ITK, which pads what is truncated, ignores checksums and
allocates whatever a header asks for. What is damaged, or not one 3D volume, is an :class:`UnreadableImage`.
"""

from __future__ import annotations

from oahier.images.errors import UnreadableImage
from oahier.images.formats import image_files, read_grid, read_image
from oahier.images.grid import Affine, Grid
from oahier.images.image import Image
from oahier.images.write import write_image

__all__ = [
    "Affine",
    "Grid",
    "Image",
    "UnreadableImage",
    "image_files",
    "read_grid",
    "read_image",
    "write_image",
]
