"""UMAP figure of the test knees of each cell, on request."""

from __future__ import annotations

import numpy as np

from oahier.hierarchy import DEFAULT_HIERARCHY, FINE
from oahier.latent import umap_embedding
from oahier.pages.charts import INK, Panel, Sheet
from oahier.pages.layout import LETTERS, legend, plain, sheet
from oahier.study.report.axes import fitted_axis, grade_name
from oahier.study.report.contents import Contents
from oahier.study.report.markers import marker
from oahier.study.report.names import NEUTRAL, Style
from oahier.types import MISSING

_FEWEST = 4
"""Knees that UMAP needs."""


def grade_styles() -> dict[int, Style]:
    """A colour of each grade, from purple to yellow, and grey for knees without one."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    grades = range(DEFAULT_HIERARCHY.num_classes(FINE))
    shades = colormaps["plasma"](np.linspace(0.25, 0.88, len(grades)))
    return {grade: Style(to_hex(shade), "o") for grade, shade in zip(grades, shades, strict=True)} | {
        MISSING: NEUTRAL
    }


def umap_figure(contents: Contents) -> Sheet | None:
    """Test knees of every cell by UMAP of the embeddings, standardised by the training knees.

    Neither the axes nor distances between far points mean anything: there are no numbers on them.
    """
    axes = {contents.title(cell): fitted_axis(cell) for cell in contents.finished}
    found = {title: axis for title, axis in axes.items() if axis is not None and len(axis.knee) >= _FEWEST}
    if not found:
        return None
    styles = grade_styles()
    made, (grid,) = sheet([(len(found), 2.6)], 2.8)
    for (title, axis), panel in zip(found.items(), grid, strict=False):
        places = umap_embedding(axis.standardised).numpy()
        plain(panel, title, across="UMAP 1")
        panel.set_ylabel("UMAP 2", fontsize=LETTERS, color=INK)
        panel.grid(visible=False)
        panel.set_xticks([])
        panel.set_yticks([])
        for grade in sorted(set(axis.kl.tolist())):
            inside = axis.kl == grade
            points = panel.scatter(
                places[inside, 0], places[inside, 1], s=16, color=styles[grade].colour, linewidths=0
            )
            knees = [knee for knee, shown in zip(axis.knee, inside, strict=True) if shown]
            made.note(points, [f"{knee}, {grade_name(grade)}" for knee in knees])
        made.panels.append(Panel(panel, title, f"UMAP of {len(axis.knee)} test knees of {title}, by grade."))
    shown = sorted({grade for axis in found.values() for grade in axis.kl.tolist()})
    legend(made, [marker(styles[grade], grade_name(grade)) for grade in shown])
    return made
