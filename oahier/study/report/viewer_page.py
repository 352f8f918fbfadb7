"""A page beside the report with a viewer of the study's test knees."""

from __future__ import annotations

import numpy as np

from oahier.images import Grid
from oahier.images.embedded import as_text, block_for, block_grid, block_means, grey_levels
from oahier.pages import render
from oahier.pages.niivue import Library
from oahier.pages.viewer import ViewedKnee, viewer
from oahier.prediction.knee_viewer import heat_levels
from oahier.prediction.planes import OUTLINE
from oahier.study.report.browser import (
    Array,
    Volume,
    methods_of,
    read_volumes,
    saliency_of,
    shown_cells,
    start_of,
)
from oahier.study.report.contents import Contents
from oahier.study.report.names import method_name
from oahier.study.report.page import TEMPLATES

VOXELS = 6_000_000
"""Most voxels of the MRI of all knees together."""
MAP_VOXELS = 3_000_000
"""Most voxels of all saliency maps together."""


def viewer_page(contents: Contents, library: Library) -> str | None:
    """The page as text, or ``None`` where no knee or no map was kept; under 15 MB.

    A choice of knee, and of condition and saliency method; of each condition the first finished replicate.
    """
    volumes, shown = read_volumes(contents), shown_cells(contents)
    methods = methods_of(shown)
    if not volumes or not methods:
        return None
    most = VOXELS // len(volumes), max(1, MAP_VOXELS // (len(volumes) * len(methods) * len(shown)))
    knees = []
    for volume in volumes:
        maps = {
            f"{name}, {method_name(method)}": saliency_of(cell.folder / "saliency" / method, volume)
            for name, cell in shown
            for method in methods
        }
        found = {name: values for name, values in maps.items() if values is not None and values.max() > 0}
        knees.append(_viewed(volume, found, *most))
    made = viewer(
        library, knees, title="Test knees", heat=heat_levels(), cartilage=OUTLINE,
        note="The first knees of each grade by id, chosen without looking at results. Of each condition the "
        "first finished replicate is shown; saliency is relative to its maximum over the knee. Large volumes "
        "are averaged over blocks.",
    )  # fmt: skip
    return render(TEMPLATES, "viewer_page.html", name=contents.study.name, viewer=made)


def _viewed(volume: Volume, maps: dict[str, Array], most: int, most_of_map: int) -> ViewedKnee:
    grid = Grid(volume.mri.shape, volume.affine)
    block, coarse = block_for(grid, most), block_for(grid, most_of_map)
    means = block_means(volume.mri, block)
    low, high = (float(value) for value in np.percentile(means, (1, 99.5)))
    inside = block_means(volume.cartilage.astype(np.float32), block) >= 0.5
    start = volume.affine @ [*start_of(volume.cartilage), 1]
    texts = {}
    for name, values in maps.items():
        coarser = block_means(values, coarse)
        texts[name] = as_text(grey_levels(coarser, 0.0, float(coarser.max())), block_grid(grid, coarse))
    return ViewedKnee(
        volume.name, as_text(grey_levels(means, low, high), block_grid(grid, block)),
        as_text(inside.astype(np.uint8), block_grid(grid, block)) if inside.any() else "", texts,
        (float(start[0]), float(start[1]), float(start[2])),
    )  # fmt: skip
