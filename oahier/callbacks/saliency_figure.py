"""Saliency over the MRI with the cartilage outlined, in three planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.images.extent import planes_through
from oahier.pages.charts import DOTS_PER_INCH, INK
from oahier.saliency.peak import peak_voxel

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTLINE = "#25e0e0"
FAINT = 0.2
"""Share of the largest saliency below which nothing is painted."""
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_PLANES = (("sagittal", 0, 1, 2), ("coronal", 1, 0, 2), ("axial", 2, 0, 1))
"""Name, axis of the slices, axis shown from left to right, axis shown from bottom to top."""


@dataclass(frozen=True)
class Plane:
    """One slice, rows from bottom to top, as a reader of MRI expects to see it."""

    name: str
    index: int
    mri: npt.NDArray[np.float32]
    saliency: npt.NDArray[np.float32]
    cartilage: npt.NDArray[np.bool_]
    size: tuple[float, float]
    """Width and height in millimetres."""
    edges: tuple[str, str, str, str]
    """Anatomical direction at the left, right, bottom and top edge (of R L A P S I)."""
    window: tuple[float, float] | None = None
    """Intensities shown black and white; percentiles 1 and 99.5 of the slice when not given."""


@dataclass(frozen=True)
class KneePicture:
    """What is drawn of one knee; small enough to send between processes."""

    knee: str
    caption: str
    planes: tuple[Plane, ...]


def cut_planes(
    mri: npt.NDArray[Any], saliency: npt.NDArray[Any], cartilage: npt.NDArray[Any], affine: npt.NDArray[Any]
) -> tuple[Plane, ...]:
    """A sagittal, a coronal and an axial slice through most of the cartilage.

    The sagittal slice is the one with the largest cartilage area, the others halve the cartilage (so
    saliency does not choose where it is looked at); without cartilage all go through the most salient voxel
    (:func:`oahier.saliency.peak.peak_voxel`); without either through the middle. Sagittal slices have
    anterior at the left; coronal and axial ones the patient's right at the left.

    Args:
        mri: ``(i, j, k)``, axes right, anterior, superior (RAS+).
        saliency: ``(i, j, k)``.
        cartilage: ``(i, j, k)`` boolean.
        affine: ``(4, 4)`` voxel index to millimetres; gives spacing and the letters at the edges.
    """
    from nibabel.orientations import aff2axcodes

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    codes = [code or "?" for code in aff2axcodes(affine)]
    where = _informative_place(saliency, cartilage)
    planes = []
    for name, axis, across, up in _PLANES:
        index = where[axis]
        image, heat, inside = (
            np.ascontiguousarray(np.flip(np.take(volume, index, axis=axis), axis=0).T)
            for volume in (mri, saliency, cartilage)
        )
        edges = (codes[across], _OPPOSITE.get(codes[across], "?"), _OPPOSITE.get(codes[up], "?"), codes[up])
        size = (float(mri.shape[across] * spacing[across]), float(mri.shape[up] * spacing[up]))
        planes.append(Plane(name, index, image, heat, inside, size, edges))
    return tuple(planes)


def for_display(saliency: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A map as it is drawn: smoothed over a voxel, relative to its 99.9th percentile over the volume.

    The largest of the voxels that a gradient reaches is often ten times the next; relative to it all others
    would vanish. Metrics read the map as it is.
    """
    from scipy.ndimage import uniform_filter

    smooth: npt.NDArray[np.float32] = uniform_filter(np.nan_to_num(saliency), 3, mode="nearest")
    rank = smooth.size - max(1, smooth.size // 1000)
    top = np.partition(smooth, rank, axis=None)[rank]
    top = top if top > 0 else smooth.max()
    return np.clip(smooth / (top if top > 0 else 1), 0, 1)


def saliency_picture(knees: Sequence[KneePicture], title: str) -> Figure:
    """One row a knee: three planes of the MRI with the cartilage outlined, then with saliency in colour.

    Saliency is drawn as it comes, from 0 to 1; below a fifth nothing is painted. The scale shows its colours
    on dark tissue (left half) and on bright tissue. All planes are to one scale in millimetres.
    """
    from matplotlib.figure import Figure

    heights = [max(plane.size[1] for plane in knee.planes) for knee in knees]
    widths = [max(knee.planes[column].size[0] for knee in knees) for column in range(len(_PLANES))] * 2
    scale = 14.0 / sum(widths)
    rows, side = [0.34 + scale * height for height in heights], 0.93
    head = 0.25 + 0.19 * (title.count("\n") + 1)
    figure = Figure((14.2 + side, sum(rows) + head + 0.1), dpi=DOTS_PER_INCH, facecolor="white")
    total_width, total_height = figure.get_size_inches()
    image = None
    top = total_height - head
    for knee, row, height in zip(knees, rows, heights, strict=True):
        figure.text(0.1 / total_width, (top - 0.2) / total_height, knee.caption, fontsize=8.5, color=INK)
        left = 0.1
        for column, (plane, width) in enumerate(zip((*knee.planes, *knee.planes), widths, strict=True)):
            box = (
                (left + scale * (width - plane.size[0]) / 2) / total_width,
                (top - 0.27 - scale * (height + plane.size[1]) / 2) / total_height,
                scale * plane.size[0] / total_width * 0.985,
                scale * plane.size[1] / total_height * 0.985,
            )
            image = draw_plane(figure.add_axes(box), plane, heat=column >= len(knee.planes))
            left += scale * width
        top -= row
    figure.text(0.1 / total_width, 1 - 0.08 / total_height, title, fontsize=10, color=INK, va="top")
    if image is not None:
        bar_axes = figure.add_axes((1 - (side - 0.12) / total_width, 0.12, 0.2 / total_width, 0.7))
        bar = figure.colorbar(image, cax=bar_axes)
        bar.set_label("saliency, relative", fontsize=8)
        bar_axes.axvspan(0, 0.5, color="black", zorder=-1)  # colours as they look on dark and bright tissue
        bar_axes.tick_params(labelsize=8)
    return figure


def _informative_place(saliency: npt.NDArray[Any], cartilage: npt.NDArray[Any]) -> tuple[int, ...]:
    """The voxel that the planes go through."""
    if not cartilage.any() and np.nan_to_num(saliency).max() > 0:
        return peak_voxel(saliency)
    return tuple(planes_through(cartilage))


def draw_plane(axes: Axes, plane: Plane, *, heat: bool) -> Any:
    """A slice with its saliency in colour, or with the cartilage outlined; returns what a scale needs."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patheffects import withStroke

    outlined = [withStroke(linewidth=2, foreground="black")]
    width, height = plane.size
    place: dict[str, Any] = {"extent": (0, width, 0, height), "origin": "lower", "aspect": "equal"}
    low, high = plane.window or np.percentile(plane.mri, (1, 99.5))
    axes.imshow(
        plane.mri, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear", **place
    )
    image = None
    if heat:
        shown = np.ma.masked_less(np.nan_to_num(plane.saliency), FAINT)
        colours = ListedColormap(heat_colours(np.linspace(0, 1, 256)))
        image = axes.imshow(shown, cmap=colours, vmin=0, vmax=1, interpolation="nearest", **place)
    elif plane.cartilage.any():
        fine = plane.cartilage.repeat(4, axis=0).repeat(4, axis=1)  # so that the line follows voxel edges
        y, x = (
            (np.arange(count) + 0.5) * size / count
            for count, size in zip(fine.shape, (height, width), strict=True)
        )
        axes.contour(x, y, fine, levels=[0.5], colors=OUTLINE, linewidths=0.8)
    axes.set_axis_off()
    left, right, bottom, top = plane.edges
    for letter, x_place, y_place, across, up in (
        (left, 0.02, 0.5, "left", "center"),
        (right, 0.98, 0.5, "right", "center"),
        (bottom, 0.5, 0.02, "center", "bottom"),
        (top, 0.5, 0.98, "center", "top"),
    ):
        axes.text(
            x_place, y_place, letter, transform=axes.transAxes, ha=across, va=up, fontsize=8, color="white",
            fontweight="bold", path_effects=outlined,
        )  # fmt: skip
    axes.text(
        0.02, 0.98, f"{plane.name} {plane.index}", transform=axes.transAxes, ha="left", va="top",
        fontsize=7.5, color="white", path_effects=outlined,
    )  # fmt: skip
    return image


def heat_colours(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Red, green, blue and opacity of shares of the largest saliency: magenta to yellow.

    Where it is faint it is transparent, and where it is not it covers: a half transparent warm colour turns
    grey tissue brown, which looks like neither.

    >>> heat_colours(np.array([0.1, 1.0])).round(2).tolist()
    [[1.0, 0.1, 0.72, 0.0], [1.0, 1.0, 0.2, 0.9]]
    """
    up = np.clip((share - 0.35) / 0.65, 0, 1)
    opacity = np.where(share < FAINT, 0, 0.25 + 0.65 * np.clip((share - FAINT) / 0.45, 0, 1))
    return np.stack([np.ones_like(share), 0.1 + 0.9 * up, 0.72 - 0.52 * up, opacity], axis=-1)
