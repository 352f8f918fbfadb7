"""The volumes of a predicted knee in the viewer of its page: the part that the model sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from oahier.callbacks.saliency_figure import heat_colours
from oahier.images import Grid
from oahier.images.embedded import as_text, block_for, block_grid, block_means, grey_levels
from oahier.pages.niivue import Library
from oahier.pages.viewer import ViewedKnee, Viewer, viewer
from oahier.prediction.geometry import to_millimetres
from oahier.prediction.loading import LoadedScan
from oahier.prediction.one_knee import KneePrediction
from oahier.prediction.planes import OUTLINE, centre_of_view, grey_window, seen_edges
from oahier.types import CARTILAGE_LABELS

VOXELS = 4_000_000
"""Most voxels of the MRI and the cartilage in a page: about 5 MB."""
MAP_VOXELS = 500_000
"""Most voxels of the saliency, which is smooth."""
_STOPS = 21

Values = npt.NDArray[np.floating]


def knee_viewer(library: Library, loaded: LoadedScan, prediction: KneePrediction) -> Viewer:
    """A viewer of what the model sees of a scan, with cartilage and saliency where they are known."""
    image, saliency = loaded.image, prediction.saliency
    box = _box(loaded)
    part = _part(image.grid, box)
    inside = None if loaded.cartilage is None else np.isin(loaded.cartilage.data[box], CARTILAGE_LABELS)
    maps = {}
    if saliency is not None and saliency.strength > 0:
        maps["saliency"] = saliency.values[box]
    peak = None if saliency is None else saliency.peak
    start = to_millimetres(image.grid, centre_of_view(loaded) if peak is None else peak)
    knee = viewed_knee(
        str(prediction.row["knee"]), part, image.data[box].astype(np.float32), inside, maps, start,
        voxels=VOXELS, map_voxels=MAP_VOXELS, window=grey_window(image),
    )  # fmt: skip
    block = block_for(part, VOXELS)
    grid = block_grid(part, block)
    return viewer(
        library, [knee], title="Viewer", note=_note(grid, block), heat=heat_levels(), cartilage=OUTLINE
    )


def viewed_knee(
    name: str,
    grid: Grid,
    mri: Values,
    inside: npt.NDArray[np.bool_] | None,
    maps: Mapping[str, Values],
    start: npt.NDArray[np.floating],
    *,
    voxels: int,
    map_voxels: int,
    window: tuple[float, float] | None = None,
) -> ViewedKnee:
    """The volumes of a knee as the viewer takes them, averaged over blocks where they are large.

    Args:
        name: of the knee.
        grid: where the voxels of all volumes lie.
        mri: intensities.
        inside: the cartilage; ``None`` where it is not known.
        maps: saliency by name, each with a value above 0.
        start: where the planes meet at first (mm).
        voxels: most voxels of the MRI and the cartilage.
        map_voxels: most voxels of a map.
        window: intensities shown as black and white; the 1st and 99.5th percentile where not given.
    """
    block, coarse = block_for(grid, voxels), block_for(grid, map_voxels)
    fine_grid, coarse_grid = block_grid(grid, block), block_grid(grid, coarse)
    means = block_means(mri, block)
    low, high = window or (float(value) for value in np.percentile(means, (1, 99.5)))
    cartilage = ""
    if inside is not None:
        mostly = block_means(inside.astype(np.float32), block) >= 0.5
        cartilage = as_text(mostly.astype(np.uint8), fine_grid) if mostly.any() else ""
    texts = {}
    for label, values in maps.items():
        coarser = block_means(values, coarse)
        texts[label] = as_text(grey_levels(coarser, 0.0, float(coarser.max())), coarse_grid)
    return ViewedKnee(
        name, as_text(grey_levels(means, low, high), fine_grid), cartilage, texts,
        (float(start[0]), float(start[1]), float(start[2])),
    )  # fmt: skip


def heat_levels() -> list[list[int]]:
    """The colours of saliency from 0 to its maximum: red, green, blue and opacity from 0 to 255."""
    levels: list[list[int]] = np.round(255 * heat_colours(np.linspace(0, 1, _STOPS))).astype(int).tolist()
    return levels


def _box(loaded: LoadedScan) -> tuple[slice, ...]:
    edges = seen_edges(loaded.image.grid, loaded.seen)
    return tuple(
        slice(int(np.floor(first * count)), max(int(np.ceil(last * count)), 1))
        for (first, last), count in zip(edges, loaded.image.grid.shape, strict=True)
    )


def _part(grid: Grid, box: tuple[slice, ...]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = to_millimetres(grid, [side.start for side in box])
    return replace(grid, shape=tuple(side.stop - side.start for side in box), affine=affine)


def _note(grid: Grid, block: tuple[int, ...]) -> str:
    size, spacing = "x".join(map(str, grid.shape)), " x ".join(f"{length:.2f}" for length in grid.spacing)
    coarser = f", means over {'x'.join(map(str, block))} of the scan's" if max(block) > 1 else ""
    return f"The part of the scan that the model sees: {size} voxels of {spacing} mm{coarser}."
