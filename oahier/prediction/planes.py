"""Slices of a scan through the most salient voxel, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.callbacks.files import write_figure
from oahier.callbacks.saliency_figure import KneePicture, Plane, heat_colours, saliency_picture
from oahier.images import Grid, Image
from oahier.images.embedded import data_address, grey_levels
from oahier.prediction.geometry import middle_of
from oahier.prediction.loading import LoadedScan
from oahier.prediction.one_knee import KneePrediction, Saliency
from oahier.types import CARTILAGE_LABELS

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_PLANES = (("sagittal", 0, 1, 2), ("coronal", 1, 0, 2), ("axial", 2, 0, 1))
"""Name, axis of the slices, axis shown from left to right, axis shown from bottom to top."""
_LONGEST = 640
"""Pixels of the longer side of a picture in a page."""
_LEVELS = 100
OUTLINE = (37, 224, 224)
"""Red, green, blue of the cartilage."""


def planes_through_peak(loaded: LoadedScan, saliency: Saliency | None) -> tuple[Plane, ...]:
    """A sagittal, a coronal and an axial slice through the peak.

    Without a peak they go through the middle of what the network sees. Sagittal slices have anterior at the
    left; coronal and axial ones the patient's right at the left.
    """
    peak = None if saliency is None else saliency.peak
    return _planes(loaded, saliency, centre_of_view(loaded) if peak is None else peak)


def planes_through_middle(loaded: LoadedScan, saliency: Saliency | None) -> tuple[Plane, ...]:
    """The same through the middle of what the network sees, which is where the joint should be."""
    return _planes(loaded, saliency, centre_of_view(loaded))


def _planes(loaded: LoadedScan, saliency: Saliency | None, where: Sequence[int]) -> tuple[Plane, ...]:
    image = loaded.image
    window = grey_window(image)
    heat = np.zeros(image.grid.shape, dtype=np.float32) if saliency is None else saliency.values
    inside: npt.NDArray[Any] = np.broadcast_to(np.zeros(1, dtype=bool), image.grid.shape)
    if loaded.cartilage is not None:
        inside = np.isin(loaded.cartilage.data, CARTILAGE_LABELS)
    codes = _codes(image.grid)
    planes = []
    for name, axis, across, up in _PLANES:
        slices = [_slice(volume, axis, where[axis]) for volume in (image.data, heat, inside)]
        shape, spacing = image.grid.shape, image.grid.spacing
        planes.append(Plane(
            name, _stored_number(image, axis, where[axis]),
            slices[0].astype(np.float32), slices[1], slices[2],
            (shape[across] * spacing[across], shape[up] * spacing[up]),
            (codes[across], _OPPOSITE[codes[across]], _OPPOSITE[codes[up]], codes[up]),
            window,
        ))  # fmt: skip
    return tuple(planes)


def grey_window(image: Image) -> tuple[float, float]:
    """Intensities that are shown black and white: percentiles 1 and 99.5."""
    low, high = (float(value) for value in np.percentile(image.data[::2, ::2, ::2], (1, 99.5)))
    return low, max(high, low + 1e-6)


def _slice(volume: npt.NDArray[Any], axis: int, index: int) -> npt.NDArray[Any]:
    """Rows from bottom to top, columns from anterior to posterior or from right to left."""
    return np.ascontiguousarray(np.flip(volume[(slice(None),) * axis + (index,)], axis=0).T)


def _stored_number(image: Image, axis: int, index: int) -> int:
    """The number of a slice, from 0, along the axis of the file that became an axis of the image."""
    sign = next(sign for became, sign in image.turn if became == axis)
    return index if sign > 0 else image.grid.shape[axis] - 1 - index


def centre_of_view(loaded: LoadedScan) -> tuple[int, ...]:
    """The voxel of the scan in the middle of what the network sees."""
    grid = loaded.image.grid
    middle = middle_of(loaded.seen, grid).round()
    return tuple(int(value) for value in np.clip(middle, 0, np.array(grid.shape) - 1))


def _codes(grid: Grid) -> tuple[str, ...]:
    """The direction that each axis runs to; axes were turned to right, anterior, superior, or nearly so."""
    from nibabel.orientations import aff2axcodes

    return tuple(str(code) for code in aff2axcodes(grid.affine))


def write_picture(
    path: Path, loaded: LoadedScan, prediction: KneePrediction, planes: tuple[Plane, ...]
) -> Path:
    """Three planes with saliency, letters at the edges and the cartilage outlined where it is known."""
    row = prediction.row
    parts = [str(row["knee"]), str(row["side"] or "side unknown")]
    parts += [
        f"{key.removeprefix('severity_')}: severity {row[key]:.2f}" for key in row if key[:9] == "severity_"
    ]
    parts += [
        f"P({key.removeprefix('prob_')}) {row[key]:.2f}"
        for key in row
        if key.startswith("prob_") and not key[-1].isdigit()
    ]
    if prediction.saliency is None or prediction.saliency.strength <= 0:
        parts.append("no saliency")
    outlined = "; cartilage outlined" if loaded.cartilage is not None else ""
    title = f"Where the model looked{outlined}. Research use only"
    return write_figure(
        path, saliency_picture([KneePicture(str(row["knee"]), "    ".join(parts), planes)], title)
    )


def picture_sources(planes: tuple[Plane, ...], loaded: LoadedScan) -> list[dict[str, Any]]:
    """The planes for a page: grey values, saliency and outline as data addresses.

    Percentiles 1 and 99.5 of the volume become black and white. ``index`` counts from 0 along the axes of
    the file, as in an overlay. ``box`` is what the network sees, in percent of the slice (left, top, width,
    height), or empty where it sees all of it.
    """
    edges = seen_edges(loaded.image.grid, loaded.seen)
    return [
        {
            "name": plane.name,
            "index": plane.index,
            "width": round(plane.size[0], 2),
            "height": round(plane.size[1], 2),
            "left": plane.edges[0], "right": plane.edges[1], "bottom": plane.edges[2], "top": plane.edges[3],
            "box": _box(edges[across], edges[up]),
            "mri": _grey(plane),
            "heat": _heat(plane),
            "outline": _outline(plane) if plane.cartilage.any() else "",
        }
        for plane, (_, _, across, up) in zip(planes, _PLANES, strict=True)
    ]  # fmt: skip


def seen_edges(grid: Grid, seen: Grid) -> list[tuple[float, float]]:
    """Where the network's view begins and ends along each axis of the scan, as shares of its extent."""
    across = np.linalg.inv(grid.affine) @ seen.affine
    edges = []
    for axis in range(3):
        ends = [across[axis, axis] * end + across[axis, 3] for end in (-0.5, seen.shape[axis] - 0.5)]
        first, last = sorted((end + 0.5) / grid.shape[axis] for end in ends)
        edges.append((max(first, 0.0), min(last, 1.0)))
    return edges


def _box(across: tuple[float, float], up: tuple[float, float]) -> list[float]:
    """The first image axis is shown flipped (anterior and right at the left), and so is the second (up)."""
    if across[1] - across[0] > 0.99 and up[1] - up[0] > 0.99:
        return []
    box = (1 - across[1], 1 - up[1], across[1] - across[0], up[1] - up[0])
    return [round(100 * value, 2) for value in box]


def _grey(plane: Plane) -> str:
    from PIL import Image as Picture

    low, high = plane.window or (float(plane.mri.min()), float(plane.mri.max()))
    picture = Picture.fromarray(grey_levels(plane.mri[::-1], low, high))
    return data_address(picture.resize(_size(plane), Picture.Resampling.BICUBIC), "jpeg", quality=88)


def _heat(plane: Plane) -> str:
    """Magenta to yellow, transparent where it is faint; as in the other figures of saliency."""
    from PIL import Image as Picture

    width, height = _size(plane)  # saliency is smooth: half of the pixels will do
    fine = Picture.fromarray(plane.saliency[::-1].astype(np.float32).copy()).resize(
        (width // 2, height // 2), Picture.Resampling.BILINEAR
    )
    share = np.round(_LEVELS * np.clip(np.nan_to_num(np.asarray(fine)), 0, 1)) / _LEVELS
    return data_address(Picture.fromarray(_colours(share)), "png")


def _colours(share: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Red, green, blue and opacity of shares of the maximum."""
    return np.round(255 * heat_colours(share)).astype(np.uint8)


def ramp(stops: int = 11) -> str:
    """The colours of the saliency from 0 to its maximum, as the stops of a gradient in a style sheet.

    >>> ramp(2)
    'rgba(255, 26, 184, 0.00), rgba(255, 255, 51, 0.90)'
    """
    colours = _colours(np.linspace(0, 1, stops)).tolist()
    return ", ".join(f"rgba({red}, {green}, {blue}, {a / 255:.2f})" for red, green, blue, a in colours)


def _outline(plane: Plane) -> str:
    from PIL import Image as Picture
    from scipy.ndimage import binary_erosion

    mask = Picture.fromarray(plane.cartilage[::-1].astype(np.uint8) * 255)
    fine = np.asarray(mask.resize(_size(plane), Picture.Resampling.NEAREST)) > 127
    edge = fine & ~binary_erosion(fine, iterations=2)
    colours = np.zeros((*edge.shape, 4), dtype=np.uint8)
    colours[edge] = (*OUTLINE, 255)
    return data_address(Picture.fromarray(colours), "png", optimize=True)


def _size(plane: Plane) -> tuple[int, int]:
    """Pixels across and down, square in millimetres."""
    width, height = plane.size
    scale = _LONGEST / max(width, height)
    return max(8, round(scale * width)), max(8, round(scale * height))
