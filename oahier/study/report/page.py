"""The page: everything inlined, so that it opens from a disk without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahier.pages import render
from oahier.study.report.axes import AxisPanel
from oahier.study.report.charts import Chart, axis_chart, forest_chart
from oahier.study.report.contents import Contents
from oahier.study.report.evidence import (
    axis_view,
    comparison_view,
    saliency_summary,
    saliency_view,
)
from oahier.study.report.forest import ForestPanel, shared_range
from oahier.study.report.names import level_name, method_name
from oahier.study.report.panels import CLASSES, PredictionPanel, SaliencyPanel, SpreadPanel
from oahier.study.report.references import Reference
from oahier.study.report.result_charts import reliability_chart, saliency_chart, spread_chart
from oahier.study.report.text import count, listed
from oahier.study.report.views import cells_view, headline_views

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Material:
    """All that a page shows."""

    contents: Contents
    forests: Mapping[str, Sequence[ForestPanel]]
    axes: Sequence[AxisPanel]
    predictions: Sequence[PredictionPanel]
    spreads: Sequence[SpreadPanel]
    saliency: Sequence[SaliencyPanel]
    browser: Mapping[str, Any] | None
    paragraphs: Sequence[str]
    references: Sequence[Reference]


def page(material: Material) -> str:
    """The page as text."""
    charts = _Charts()
    context = _context(material, charts)
    return render(
        TEMPLATES,
        "index.html",
        **context,
        scripts=[(TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "browser.js")],
        plotly=_plotly_script() if charts.figures else "",
        chart_data=for_script(charts.figures),
        browser_data=for_script(material.browser),
    )


def for_script(content: Any) -> str:
    r"""JSON that may stand inside a script element, whatever is in it.

    >>> print(for_script({"knee": "</script>"}))
    {"knee":"\u003c/script\u003e"}
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plotly_script() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


class _Charts:
    """Charts of a page by the ids of their places."""

    def __init__(self) -> None:
        self.figures: dict[str, Mapping[str, Any]] = {}

    def add(self, chart: Chart) -> dict[str, Any]:
        name = f"chart-{len(self.figures) + 1}"
        self.figures[name] = chart.figure
        return {"id": name, "title": chart.title, "alt": chart.alt, "height": chart.height, "summary": ""}


def _context(material: Material, charts: _Charts) -> dict[str, Any]:
    contents = material.contents
    study = contents.study
    views = headline_views(contents)
    axis_all = axis_view(contents)
    return {
        "name": study.name,
        "preset": study.preset,
        "lead": _lead(contents),
        "factors": [
            (axis, listed([level_name(level) for level in levels])) for axis, levels in study.factors.items()
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
            task for task in CLASSES if views and not any(f"{task} " in view.title for view in views)
        ],
        "forest_groups": _forest(material.forests["comparisons"], contents, charts),
        "comparisons": comparison_view(contents, "comparisons"),
        "axis_charts": _axis_groups(material.axes, charts),
        "axis_table": axis_view(contents, ["pca"]),
        "axis_all": axis_all,
        "axis_forest": _forest(material.forests["axis_comparisons"], contents, charts),
        "axis_comparisons": comparison_view(contents, "axis_comparisons"),
        "confusion": _confusion(material.predictions),
        "reliability": _reliability(material.predictions, charts),
        "pooled": any(panel.cells > 1 for panel in material.predictions),
        "spread": _spread(material.spreads, charts),
        "saliency_charts": [charts.add(saliency_chart(panel)) for panel in material.saliency],
        "saliency_table": saliency_summary(contents),
        "saliency_all": saliency_view(contents),
        "saliency_forest": _forest(material.forests["saliency_comparisons"], contents, charts),
        "saliency_comparisons": comparison_view(contents, "saliency_comparisons"),
        "browser": material.browser,
        "no_saliency": _why_no_saliency(contents),
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


def _forest(panels: Sequence[ForestPanel], contents: Contents, charts: _Charts) -> list[dict[str, Any]]:
    """Charts by group and section; the charts of a section share their scale."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for panel in panels:
        reach = shared_range([other for other in panels if other.section == panel.section])
        sections = groups.setdefault(panel.group, {})
        chart = charts.add(forest_chart(panel, contents.styles, reach))
        sections.setdefault(panel.section, []).append(chart)
    return [{"group": group, "sections": list(sections.values())} for group, sections in groups.items()]


def _axis_groups(panels: Sequence[AxisPanel], charts: _Charts) -> list[dict[str, Any]]:
    return [{**charts.add(axis_chart(panel)), "summary": panel.summary} for panel in panels]


def _spread(panels: Sequence[SpreadPanel], charts: _Charts) -> list[dict[str, Any]]:
    tasks: dict[str, list[dict[str, Any]]] = {}
    for panel in panels:
        tasks.setdefault(panel.task, []).append(charts.add(spread_chart(panel)))
    return [{"task": task, "charts": found} for task, found in tasks.items()]


def _confusion(panels: Sequence[PredictionPanel]) -> list[dict[str, Any]]:
    return [
        {
            "task": task,
            "classes": classes,
            "matrices": [_matrix(panel, task) for panel in panels if task in panel.confusion],
        }
        for task, classes in CLASSES.items()
        if any(task in panel.confusion for panel in panels)
    ]


def _matrix(panel: PredictionPanel, task: str) -> dict[str, Any]:
    counts = panel.confusion[task]
    rows = []
    for name, row in zip(CLASSES[task], counts.tolist(), strict=True):
        total = sum(row)
        shares = [value / total if total else 0.0 for value in row]
        cells = [
            {"count": value, "share": round(share, 3), "percent": f"{100 * share:.0f}"}
            for value, share in zip(row, shares, strict=True)
        ]
        rows.append({"name": name, "total": total, "cells": cells})
    return {"title": panel.condition + "†" * (task in panel.probes), "cells": panel.cells, "rows": rows}


def _reliability(panels: Sequence[PredictionPanel], charts: _Charts) -> list[dict[str, Any]]:
    made = []
    for task in CLASSES:
        for group in dict.fromkeys(panel.group for panel in panels if task in panel.curves):
            part = [panel for panel in panels if panel.group == group and task in panel.curves]
            probes = [panel.contrast or panel.condition for panel in part if task in panel.probes]
            chart = charts.add(reliability_chart(part, task))
            made.append({**chart, "summary": f"probe: {listed(probes)}" if probes else ""})
    return made


def _why_no_saliency(contents: Contents) -> str:
    if any((cell.folder / "saliency").is_dir() for cell in contents.finished):
        return "There is no saliency table: the knees have no cartilage masks, or the tables lack it."
    return "No saliency was computed in this study."
