"""Figures of calibration, seeds and saliency."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from oahier.pages.charts import GREY, INK, PAPER, Panel, Sheet
from oahier.pages.layout import LETTERS, legend, plain, room, sheet
from oahier.pages.text import interval, listed, number
from oahier.study.report.markers import marker
from oahier.study.report.names import Style, arrow
from oahier.study.report.panels import PredictionPanel, SaliencyPanel, SpreadPanel

CONTROLS = (
    ("△", "other knees' cartilage", "^"),
    ("×", "random weights", "x"),
    ("□", "the image itself", "s"),
)
"""Letter on the page, name and marker of the controls of saliency."""


def reliability_figure(panels: Sequence[PredictionPanel], task: str) -> Sheet:
    """Reliability curves, a panel a group, a curve a condition; the area of a marker follows its count."""
    shown = [panel for panel in panels if task in panel.curves]
    groups = list(dict.fromkeys(panel.group for panel in shown))
    made, (grid,) = sheet([(len(groups), 3.0)], 2.9)
    across, up = (
        (f"probability of {task}", f"share with {task}")
        if shown and len(shown[0].classes[task]) == 2
        else ("confidence in the class", "share right")
    )
    handles: dict[str, Style] = {}
    for group, axes in zip(groups, grid, strict=False):
        title = ", ".join(part for part in (group, task) if part)
        part = [panel for panel in shown if panel.group == group]
        plain(axes, title, across=across)
        axes.grid(axis="y", color=axes.get_xgridlines()[0].get_color(), linewidth=0.8)
        axes.set_ylabel(up, fontsize=LETTERS, color=INK)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        for panel in part:
            mean, share, amount = panel.curves[task]
            name = panel.contrast or panel.condition
            axes.plot(mean, share, color=panel.style.colour, linewidth=1.2)
            points = axes.scatter(
                mean, share, s=np.clip(250 * amount / amount.sum(), 12, 150), color=panel.style.colour,
                marker=panel.style.marker, linewidths=0,
            )  # fmt: skip
            made.note(points, [
                f"{name}: predicted {x:.2f}, observed {y:.2f}, {n:.0f} predictions"
                for x, y, n in zip(mean, share, amount, strict=True)
            ])  # fmt: skip
            handles[name + "†" * (task in panel.probes)] = panel.style
        probes = [panel.contrast or panel.condition for panel in part if task in panel.probes]
        conditions = ", ".join(panel.condition for panel in part)
        made.panels.append(Panel(
            axes, title, f"Reliability, {title}: {up} against {across} for {conditions}.",
            f"probe: {listed(probes)}" if probes else "",
        ))  # fmt: skip
    legend(made, [marker(style, name) for name, style in handles.items()])
    return made


def spread_figure(panels: Sequence[SpreadPanel]) -> Sheet:
    """Every seed of every condition, a panel a metric."""
    tasks = list(dict.fromkeys(panel.task for panel in panels))
    most = max(len(panel.rows) for panel in panels)
    width, row = room(line.condition + "†" for panel in panels for line in panel.rows)
    amounts = [sum(panel.task == task for panel in panels) for task in tasks]
    made, grid = sheet([(amount, 0.6 + row * most) for amount in amounts], 1.6 + width)
    free = {task: iter(found) for task, found in zip(tasks, grid, strict=True)}
    for panel in panels:
        axes = next(free[panel.task])
        names = [line.condition + "†" * line.probe for line in panel.rows]
        plain(axes, panel.title, rows=names)
        axes.locator_params(axis="x", nbins=5)
        for place, (line, name) in enumerate(zip(panel.rows, names, strict=True)):
            values = {seed: x for seed, x in zip(line.seeds, line.values, strict=True) if math.isfinite(x)}
            if math.isfinite(line.low + line.high):
                (bar,) = axes.plot([line.low, line.high], [place] * 2, color=line.style.colour, alpha=0.3,
                                   linewidth=5, solid_capstyle="butt")  # fmt: skip
                made.note(bar, [f"{name}: mean {number(line.mean, 3)} {interval(line.low, line.high, 3)}"])
            axes.plot(line.mean, place, "|", color=INK, markersize=10, markeredgewidth=1.6)
            (points,) = axes.plot(
                list(values.values()), [place] * len(values), line.style.marker, color=line.style.colour,
                markersize=4.5, markeredgecolor=PAPER, markeredgewidth=0.5,
            )  # fmt: skip
            if values:
                made.note(points, [f"{name}, seed {seed}: {value:.3f}" for seed, value in values.items()])
        told = [f"{line.condition} {', '.join(map(number, line.values))}" for line in panel.rows]
        alt = f"{panel.title}, every seed: {'; '.join(told)}"
        made.panels.append(Panel(axes, arrow(panel.metric), alt, section=panel.task))
    return made


def saliency_figure(panels: Sequence[SaliencyPanel]) -> Sheet:
    """Enrichment beside its controls, a panel a method; far wider intervals are cut."""
    most = max(len(panel.rows) for panel in panels)
    width, row = room(line.condition for panel in panels for line in panel.rows)
    made, (grid,) = sheet([(len(panels), 0.85 + 1.1 * row * most)], 2.3 + width)
    for panel, axes in zip(panels, grid, strict=False):
        plain(axes, panel.title, across="enrichment", rows=[line.condition for line in panel.rows])
        axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
        reach = _reach(panel)
        axes.set_xlim(0, reach)
        for place, line in enumerate(panel.rows):
            end = min(line.high, 0.98 * reach)
            axes.plot([line.low, end], [place] * 2, color=line.style.colour, linewidth=1.6)
            if line.high > reach:
                axes.plot(end, place, ">", color=line.style.colour, markersize=5)
            if math.isfinite(line.value):
                (point,) = axes.plot(
                    line.value, place, line.style.marker, color=line.style.colour, markersize=6
                )
                made.note(point, [f"{line.condition}: {number(line.value)} {interval(line.low, line.high)}"])
        for (_, name, sign), values in zip(CONTROLS, _controls(panel), strict=True):
            known = {place: x for place, x in enumerate(values) if math.isfinite(x)}
            if known:
                (points,) = axes.plot(list(known.values()), list(known), sign, color=INK, markersize=5,
                                      markerfacecolor="none")  # fmt: skip
                made.note(points, [f"{name}: {value:.2f}" for value in known.values()])
        told = [
            f"{line.condition} {number(line.value)}, other knees {number(line.other)}, random weights "
            f"{number(line.randomised)}, the image itself {number(line.image)}"
            for line in panel.rows
        ]
        made.panels.append(Panel(axes, panel.title, f"Enrichment of {panel.title}: {'; '.join(told)}"))
    ink = Style(INK, "")
    legend(made, [
        marker(Style(GREY, ""), "chance", marker=None, linestyle="--"),
        *(marker(ink, name, marker=sign, markerfacecolor="none") for _, name, sign in CONTROLS),
        *[marker(ink, "interval goes on", marker=">", linestyle="-")] * any(map(_is_cut, panels)),
    ])  # fmt: skip
    return made


def _reach(panel: SaliencyPanel) -> float:
    """End of the scale; intervals beyond twice the largest value or control do not widen it."""
    values = [1.0, *(line.value for line in panel.rows), *itertools.chain(*_controls(panel))]
    largest = max(filter(math.isfinite, values))
    return 1.05 * max(largest, *(line.high for line in panel.rows if line.high <= 2 * largest), 0.0)


def _is_cut(panel: SaliencyPanel) -> bool:
    return any(line.high > _reach(panel) for line in panel.rows)


def _controls(panel: SaliencyPanel) -> tuple[list[float], ...]:
    """Values of :data:`CONTROLS`, a list each."""
    return tuple([getattr(line, name) for line in panel.rows] for name in ("other", "randomised", "image"))
