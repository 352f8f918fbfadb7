"""The page: everything inlined, so that it opens from a disk without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahier.hierarchy import DEFAULT_HIERARCHY, FINE, head_label
from oahier.pages import render
from oahier.pages.charts import Drawn
from oahier.pages.text import count, listed
from oahier.pages.viewer import for_script
from oahier.reporting.change_figure import ROSE
from oahier.reporting.checklist import Item
from oahier.study.report.axes import grade_name
from oahier.study.report.axis_evidence import order_view, similarity_view
from oahier.study.report.change import change_view
from oahier.study.report.contents import Contents
from oahier.study.report.evidence import (
    axis_view,
    comparison_sentences,
    comparison_view,
    saliency_summary,
    saliency_view,
)
from oahier.study.report.maps import grade_styles
from oahier.study.report.names import level_name, method_name
from oahier.study.report.panels import PredictionPanel, classes_of
from oahier.study.report.references import Reference
from oahier.study.report.result_figures import CONTROLS
from oahier.study.report.views import cells_view, headline_views

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Material:
    """All that a page shows.

    Args:
        contents: the study.
        figures: drawn.
        predictions: panels of confusion matrices.
        browser: slices of knees.
        paragraphs: of the methods section.
        references: that they cite.
        items: of reporting guidelines.
        viewer: text of the page with a viewer of knees, empty where there is none.
    """

    contents: Contents
    figures: Sequence[Drawn]
    predictions: Sequence[PredictionPanel]
    browser: Mapping[str, Any] | None
    paragraphs: Sequence[str]
    references: Sequence[Reference]
    items: Sequence[Item] = ()
    viewer: str = ""

    def drawn(self, kind: str) -> list[Drawn]:
        """Figures of one kind."""
        return [figure for figure in self.figures if figure.kind == kind]


def page(material: Material) -> str:
    """The page as text."""
    return render(
        TEMPLATES,
        "index.html",
        **_context(material),
        scripts=[(TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "browser.js")],
        browser_data=for_script(material.browser),
    )


def _context(material: Material) -> dict[str, Any]:
    contents = material.contents
    study = contents.study
    views = headline_views(contents)
    axis_all = axis_view(contents)
    trained = {axis: {cell.factors[axis] for cell in study.cells} for axis in study.factors}
    return {
        "name": study.name,
        "preset": study.preset,
        "lead": _lead(contents),
        "factors": [
            (axis, listed([level_name(level) for level in levels if level in trained[axis]]))
            for axis, levels in study.factors.items()
        ],
        "states": _states(contents),
        "problems": [(cell.name, cell.error) for cell in study.cells if cell.state == "failed"],
        "unfinished": [
            (cell.name, cell.state) for cell in study.cells if cell.state in ("running", "waiting")
        ],
        "cells": cells_view(contents),
        "headline": views,
        "one_seed": len(study.factors.get(study.replicate, ())) <= 1,
        "no_heads": [
            task
            for task in map(head_label, DEFAULT_HIERARCHY.levels)
            if views and not any(f"{task} " in view.title for view in views)
        ],
        "primary_forest": material.drawn("primary_comparisons"),
        "primary": comparison_view(contents, "primary_comparisons"),
        "primary_sentences": comparison_sentences(contents, "primary_comparisons"),
        "plan": study.facts.get("plan", ""),
        "folds": "folds" in study.facts,
        "earlier_plans": study.facts.get("earlier_plans", []),
        "forest": material.drawn("comparisons"),
        "comparisons": comparison_view(contents, "comparisons"),
        "comparison_sentences": comparison_sentences(contents, "comparisons"),
        "axis_charts": material.drawn("axis"),
        "maps": material.drawn("umap"),
        "grades": [(grade_name(grade), style.colour) for grade, style in grade_styles().items()],
        "axis_table": axis_view(contents, ["pca"]),
        "axis_all": axis_all,
        "axis_order": order_view(contents),
        "similarity": similarity_view(contents),
        "axis_forest": material.drawn("axis_comparisons"),
        "axis_comparisons": comparison_view(contents, "axis_comparisons"),
        "change_charts": material.drawn("change"),
        "change_table": change_view(contents),
        "change_forest": material.drawn("change_comparisons"),
        "change_comparisons": comparison_view(contents, "change_comparisons"),
        "rising": ROSE,
        "confusion": _confusion(material.predictions),
        "reliability": material.drawn("reliability"),
        "pooled": any(panel.cells > 1 for panel in material.predictions),
        "spread": material.drawn("seeds"),
        "saliency_charts": material.drawn("saliency"),
        "controls": CONTROLS,
        "saliency_table": saliency_summary(contents),
        "saliency_all": saliency_view(contents),
        "saliency_forest": material.drawn("saliency_comparisons"),
        "saliency_comparisons": comparison_view(contents, "saliency_comparisons"),
        "of_visits": _OF_VISITS if any(cell.compares_visits for cell in study.cells) else "",
        "browser": material.browser,
        "viewer": bool(material.viewer),
        "no_saliency": _why_no_saliency(contents),
        "checklist": material.items,
        "unanswered": sum(bool(item.missing) for item in material.items),
        "paragraphs": material.paragraphs,
        "references": material.references,
        "method_name": method_name,
        "styles": [
            {"name": level_name(level), "colour": style.colour} for level, style in contents.styles.items()
        ],
    }


def _lead(contents: Contents) -> str:
    study = contents.study
    done, total = len(contents.finished), len(study.cells)
    axes = [axis for axis in study.factors if axis != study.replicate]
    what = f"{count(total, 'cell')} over {listed(axes)}" if axes else count(total, "cell")
    seeds = len(study.factors.get(study.replicate, ()))
    repeated = f", {count(seeds, study.replicate)} each" if seeds else ""
    ended = "all finished" if done == total else f"{done} finished"
    return f"{what}{repeated}; {ended}."


def _states(contents: Contents) -> list[tuple[str, int]]:
    states = [cell.state for cell in contents.study.cells]
    order = ("finished", "failed", "running", "waiting")
    return [(state, states.count(state)) for state in order if state in states]


def _confusion(panels: Sequence[PredictionPanel]) -> list[dict[str, Any]]:
    return [
        {
            "title": f"{task} grade" if task == head_label(FINE) else task,
            "classes": classes,
            "matrices": [_matrix(panel, task) for panel in panels if task in panel.confusion],
        }
        for task, classes in classes_of(panels).items()
    ]


def _matrix(panel: PredictionPanel, task: str) -> dict[str, Any]:
    counts = panel.confusion[task]
    rows = []
    for name, row in zip(panel.classes[task], counts.tolist(), strict=True):
        total = sum(row)
        shares = [value / total if total else 0.0 for value in row]
        cells = [
            {"count": value, "share": round(share, 3), "percent": f"{100 * share:.0f}"}
            for value, share in zip(row, shares, strict=True)
        ]
        rows.append({"name": name, "total": total, "cells": cells})
    return {"title": panel.marked(task), "cells": panel.cells, "rows": rows}


_OF_VISITS = (
    "The cells compare two visits of a knee: rows are pairs of visits. Severity axes, saliency maps and "
    "slices are of single knees, so there are none."
)


def _why_no_saliency(contents: Contents) -> str:
    if any((cell.folder / "saliency").is_dir() for cell in contents.finished):
        return "There is no saliency table: the knees have no cartilage masks, or the tables lack it."
    return "No saliency was computed in this study."
