"""Writing a report: everything is made in a folder of its own, which then takes the place of the old one."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from oahier.files import write_atomically
from oahier.pages.charts import Sheet, drawn
from oahier.pages.niivue import Library, needed_niivue
from oahier.pages.text import file_name
from oahier.study.report.axes import axis_panels
from oahier.study.report.axis_evidence import order_view, similarity_view
from oahier.study.report.browser import browser
from oahier.study.report.change import change_figures, change_view
from oahier.study.report.checklists import checklist_csv, checklist_items
from oahier.study.report.contents import Contents, read_contents
from oahier.study.report.evidence import axis_view, comparison_view, saliency_view
from oahier.study.report.figures import axis_figure, confusion_figure, forest_figure
from oahier.study.report.forest import ForestPanel, forest_panels
from oahier.study.report.latex import latex_tables
from oahier.study.report.maps import umap_figure
from oahier.study.report.methods import methods
from oahier.study.report.page import Material, page
from oahier.study.report.panels import (
    classes_of,
    prediction_panels,
    saliency_panels,
    spread_panels,
)
from oahier.study.report.references import numbered
from oahier.study.report.result_figures import reliability_figure, saliency_figure, spread_figure
from oahier.study.report.viewer_page import viewer_page
from oahier.study.report.views import View, cells_view, headline_views

COMPARISONS = (
    "primary_comparisons", "comparisons", "axis_comparisons", "change_comparisons", "saliency_comparisons",
)  # fmt: skip


def write_report(folder: Path | str, *, umap: bool = False, viewer: bool = False) -> Path:
    """Write the report of a study from its files.

    Makes ``report/index.html``, which opens without a network, ``report/tables`` (CSV and LaTeX),
    ``report/figures`` (PDF, SVG and PNG) and ``report/methods.txt`` in the study's folder. Nothing is
    trained and no statistic is computed: numbers are those of ``tables/*.csv``. What a study does not have
    is left out, and the page says so. The same files give the same bytes.

    Args:
        folder: of the study; its tables are written by :func:`oahier.study.tables.write_tables`.
        umap: draw the test knees of each cell by UMAP as well, which takes about a minute.
        viewer: write ``report/viewer.html`` as well, a viewer of the test knees whose volumes were kept.

    Returns:
        The page.

    Raises:
        ImportError: ``viewer`` without the extra of that name.
        ValueError: no study in the folder, or a file that is damaged or lacks a column; the message names it.
        OSError: a file that cannot be read or written. An older report is then as it was.
    """
    niivue = needed_niivue() if viewer else None
    contents = read_contents(Path(folder))
    target = contents.study.folder / "report"
    with _replaced(target) as work:
        material = _material(contents, niivue, umap=umap)
        _write_tables(contents, work / "tables")
        for figure in material.figures:
            for suffix, content in figure.files.items():
                write_atomically(work / "figures" / f"{figure.name}.{suffix}", content)
        write_atomically(work / "methods.txt", _methods_text(material))
        if material.items:
            write_atomically(work / "tables" / "checklist.csv", checklist_csv(material.items))
        if material.viewer:
            write_atomically(work / "viewer.html", material.viewer)
        write_atomically(work / "index.html", page(material))
    return target / "index.html"


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new folder that replaces ``target`` at the end, unless something is raised."""
    mark = uuid.uuid4().hex
    work, old = (target.with_name(f".{target.name}.{mark}.{end}") for end in ("new", "old"))
    try:
        work.mkdir()
        yield work
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(work, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        for leftover in (work, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _material(contents: Contents, niivue: Library | None, *, umap: bool) -> Material:
    paragraphs, references = numbered(methods(contents))
    maps = umap_figure(contents) if umap else None
    return Material(
        contents=contents,
        figures=[
            *(drawn(*made) for made in _figures(contents)),
            *([drawn("umap", "umap", maps)] if maps else []),
        ],
        predictions=prediction_panels(contents),
        browser=browser(contents),
        paragraphs=paragraphs,
        references=references,
        items=checklist_items(contents),
        viewer=(niivue and viewer_page(contents, niivue)) or "",
    )


def _write_tables(contents: Contents, folder: Path) -> None:
    """Tables as they were computed, and for LaTeX as they are printed."""
    views: dict[str, list[View | None]] = {
        "cells": [cells_view(contents)],
        "headline": [*headline_views(contents)],
        "axis": [axis_view(contents)],
        "axis_order": [order_view(contents)],
        "similarity": [similarity_view(contents)],
        "change": [change_view(contents)],
        "saliency": [saliency_view(contents)],
        **{name: [comparison_view(contents, name)] for name in COMPARISONS},
    }
    for name, made in views.items():
        found = [view for view in made if view is not None]
        if found:
            write_atomically(folder / f"{name}.tex", latex_tables(found))
        if name in contents.tables:
            source = contents.study.folder / "tables" / f"{name}.csv"
            write_atomically(folder / f"{name}.csv", source.read_bytes())


def _figures(contents: Contents) -> Iterator[tuple[str, str, Sheet]]:
    """Kind, file name and figure of all that can be drawn."""
    for name in COMPARISONS:
        start = "_".join(["forest", *name.split("_")[:-1]])
        colour = f"has the {'better' if name in COMPARISONS[:2] else 'larger'} value"
        for group, part in _by_group(forest_panels(contents, name)).items():
            yield name, f"{start}_{file_name(group)}", forest_figure(part, contents.styles, colour)
    axes = axis_panels(contents)
    if axes:
        yield "axis", "severity_axis", axis_figure(axes)
    for name, made in change_figures(contents):
        yield "change", f"change_{file_name(name)}", made
    predictions = prediction_panels(contents)
    for task in classes_of(predictions):
        yield "confusion", f"confusion_{task.lower()}", confusion_figure(predictions, task)
        yield "reliability", f"reliability_{task.lower()}", reliability_figure(predictions, task)
    spreads, saliency = spread_panels(contents), saliency_panels(contents)
    if spreads:
        yield "seeds", "seeds", spread_figure(spreads)
    if saliency:
        yield "saliency", "saliency", saliency_figure(saliency)


def _by_group(panels: Sequence[ForestPanel]) -> dict[str, list[ForestPanel]]:
    groups: dict[str, list[ForestPanel]] = {}
    for panel in panels:
        groups.setdefault(panel.group, []).append(panel)
    return groups


def _methods_text(material: Material) -> str:
    lines = [*material.paragraphs]
    if material.references:
        lines.append(
            "\n".join(f"[{place}] {work.text}" for place, work in enumerate(material.references, start=1))
        )
    return "\n\n".join(lines) + "\n" if lines else "No cell has finished: there is nothing to describe.\n"
