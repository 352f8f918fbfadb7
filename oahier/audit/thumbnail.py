"""A small picture of a knee: sagittal, coronal and axial slices with the outlines of its cartilage."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from oahier.images.embedded import grey_levels
from oahier.images.extent import planes_through
from oahier.images.knee import KneeImages
from oahier.types import CARTILAGE_LABELS

SIDE = 216
"""Pixels of each plane's square."""
_GAP = 4
_LETTER = 22
"""Pixels of the letters at the edges; cards show pictures at about two thirds of their size."""
_QUALITY = 72
COLOURS = {2: (37, 224, 224), 4: (255, 176, 32), 5: (255, 92, 168)}
"""Femoral, medial tibial and lateral tibial cartilage."""

# across and up axes of each plane, and the letter at its left edge; axes are right, anterior, superior
_PLANES = ((0, 1, 2, "A"), (1, 0, 2, "R"), (2, 0, 1, "R"))


def knee_picture(images: KneeImages) -> bytes:
    """A JPEG of three planes, one scale for all: superior up (anterior in the axial plane).

    The sagittal plane has anterior at its left, the others the right of the patient. Slices go through the
    cartilage, or through the middle.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_LETTER)
    data = images.mri.data
    labels = None if images.cartilage is None else images.cartilage.data
    cartilage = np.zeros(data.shape, dtype=bool) if labels is None else np.isin(labels, CARTILAGE_LABELS)
    place = planes_through(cartilage)
    slices = [np.take(data, place[axis], axis).astype(np.float32) for axis, *_ in _PLANES]
    low, high = map(float, np.percentile(np.concatenate([part.ravel() for part in slices]), (1, 99.5)))
    pixels_per_mm = SIDE / max(images.mri.grid.extent)
    canvas = Image.new("RGB", (3 * SIDE + 2 * _GAP, SIDE))
    draw = ImageDraw.Draw(canvas)
    for number, (part, (axis, across, up, letter)) in enumerate(zip(slices, _PLANES, strict=True)):
        size = tuple(max(1, round(images.mri.grid.extent[a] * pixels_per_mm)) for a in (across, up))
        plane = _drawn(
            grey_levels(part, low, high), None if labels is None else np.take(labels, place[axis], axis), size
        )
        left = number * (SIDE + _GAP) + (SIDE - size[0]) // 2
        canvas.paste(plane, (left, (SIDE - size[1]) // 2))
        draw.text(
            (number * (SIDE + _GAP) + 4, SIDE // 2), letter, font=font, anchor="lm", fill="white",
            stroke_width=2, stroke_fill="black",
        )  # fmt: skip
    file = io.BytesIO()
    canvas.save(file, "jpeg", quality=_QUALITY, subsampling=0, optimize=True)
    return file.getvalue()


def _drawn(
    grey: UInt8[np.ndarray, "across up"], labels: Shaped[np.ndarray, "across up"] | None, size: Any
) -> Any:
    """A plane as rows from the top; both axes run against their index."""
    from PIL import Image
    from scipy.ndimage import binary_erosion

    picture = Image.fromarray(_rows(grey))
    picture = picture.resize(size, Image.Resampling.BILINEAR).convert("RGB")
    if labels is None:
        return picture
    pixels = np.array(picture)
    resized = np.array(Image.fromarray(_rows(labels).astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
    for label, colour in COLOURS.items():
        inside = resized == label
        pixels[inside & ~binary_erosion(inside)] = colour
    return Image.fromarray(pixels)


def _rows(plane: Shaped[np.ndarray, "across up"]) -> Shaped[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(plane.T[::-1, ::-1])
