"""A small picture of a knee: sagittal, coronal and axial slices with the outlines of its cartilage."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

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
    place = _place(labels, data.shape)
    slices = [np.take(data, place[axis], axis).astype(np.float32) for axis, *_ in _PLANES]
    low, high = map(float, np.percentile(np.concatenate([part.ravel() for part in slices]), (1, 99.5)))
    pixels_per_mm = SIDE / max(images.mri.grid.extent)
    canvas = Image.new("RGB", (3 * SIDE + 2 * _GAP, SIDE))
    draw = ImageDraw.Draw(canvas)
    for number, (part, (axis, across, up, letter)) in enumerate(zip(slices, _PLANES, strict=True)):
        size = tuple(max(1, round(images.mri.grid.extent[a] * pixels_per_mm)) for a in (across, up))
        grey = np.round(255 * np.clip((part - low) / max(high - low, 1e-6), 0, 1))
        plane = _drawn(grey, None if labels is None else np.take(labels, place[axis], axis), size)
        left = number * (SIDE + _GAP) + (SIDE - size[0]) // 2
        canvas.paste(plane, (left, (SIDE - size[1]) // 2))
        draw.text(
            (number * (SIDE + _GAP) + 4, SIDE // 2), letter, font=font, anchor="lm", fill="white",
            stroke_width=2, stroke_fill="black",
        )  # fmt: skip
    file = io.BytesIO()
    canvas.save(file, "jpeg", quality=_QUALITY, subsampling=0, optimize=True)
    return file.getvalue()


def _place(labels: UInt8[np.ndarray, "i j k"] | None, shape: tuple[int, ...]) -> list[int]:
    """Index of each plane: through most cartilage in the sagittal one, through its middle in the others."""
    cartilage = None if labels is None else np.isin(labels, CARTILAGE_LABELS)
    if cartilage is None or not cartilage.any():
        return [size // 2 for size in shape]
    areas = [cartilage.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    halves = [int(np.searchsorted(area.cumsum(), area.sum() / 2)) for area in areas]
    return [int(areas[0].argmax()), *halves[1:]]


def _drawn(
    grey: Float32[np.ndarray, "across up"], labels: Shaped[np.ndarray, "across up"] | None, size: Any
) -> Any:
    """A plane as rows from the top; both axes run against their index."""
    from PIL import Image

    picture = Image.fromarray(_rows(grey).astype(np.uint8))
    picture = picture.resize(size, Image.Resampling.BILINEAR).convert("RGB")
    if labels is None:
        return picture
    pixels = np.array(picture)
    resized = np.array(Image.fromarray(_rows(labels).astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
    for label, colour in COLOURS.items():
        pixels[_edge(resized == label)] = colour
    return Image.fromarray(pixels)


def _rows(plane: Shaped[np.ndarray, "across up"]) -> Shaped[np.ndarray, "rows columns"]:
    return np.ascontiguousarray(plane.T[::-1, ::-1])


def _edge(inside: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """Pixels of a region that touch another one."""
    padded = np.pad(inside, 1)
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(inside & ~around)
