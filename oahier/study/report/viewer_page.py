"""A page beside the report with a viewer of the study's test knees."""

from __future__ import annotations

from oahier.images import Grid
from oahier.images.extent import planes_through
from oahier.pages import render
from oahier.pages.niivue import Library
from oahier.pages.viewer import viewer
from oahier.prediction.knee_viewer import heat_levels, viewed_knee
from oahier.prediction.planes import OUTLINE
from oahier.study.report.browser import (
    methods_of,
    read_volumes,
    saliency_of,
    shown_cells,
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
        knees.append(
            viewed_knee(
                volume.name, Grid(volume.mri.shape, volume.affine), volume.mri, volume.cartilage, found,
                volume.affine @ [*planes_through(volume.cartilage), 1], voxels=most[0], map_voxels=most[1],
            )
        )  # fmt: skip
    made = viewer(
        library, knees, title="Test knees", heat=heat_levels(), cartilage=OUTLINE,
        note="The first knees of each grade by id, chosen without looking at results. Of each condition the "
        "first finished replicate is shown; saliency is relative to its maximum over the knee. Large volumes "
        "are averaged over blocks.",
    )  # fmt: skip
    return render(TEMPLATES, "viewer_page.html", name=contents.study.name, viewer=made)
