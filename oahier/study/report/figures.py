"""Figures of paired differences, severity axes and confusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from oahier.pages.charts import GREY, INK, PAPER, Panel, Sheet
from oahier.pages.layout import SMALL, legend, plain, room, sheet
from oahier.pages.text import p_equals, signed
from oahier.study.report.axes import AxisPanel, grade_name
from oahier.study.report.forest import Difference, ForestPanel, shared_range
from oahier.study.report.markers import level_markers
from oahier.study.report.names import NEUTRAL, Style
from oahier.study.report.panels import PredictionPanel
from oahier.types import MISSING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def forest_figure(panels: Sequence[ForestPanel], styles: Mapping[str, Style], colour: str) -> Sheet:
    """One group of comparisons, a panel a pair; the panels of a section and unit share their scale.

    Args:
        panels: of the group.
        styles: of the compared levels.
        colour: what the level whose colour a difference has does, as ``"has the better value"``.
    """
    sections: dict[str, list[ForestPanel]] = {}
    for panel in panels:
        sections.setdefault(panel.section, []).append(panel)
    width, row = room(line.label for panel in panels for line in panel.rows)
    amounts = [(len(part), 0.6 + row * max(len(one.rows) for one in part)) for part in sections.values()]
    made, grid = sheet(amounts, 2.5 + width, panels[0].group)
    for part, all_axes in zip(sections.values(), grid, strict=True):
        reach = shared_range(part)
        for panel, axes in zip(part, all_axes, strict=False):
            unit = "grades" if panel.rows[0].in_grades else ""
            plain(axes, panel.title, across=unit, rows=[line.label for line in panel.rows])
            axes.axvline(0, color=GREY, linewidth=1)
            axes.set_xlim(-reach, reach)
            axes.locator_params(axis="x", nbins=4)  # numbers with signs would run into one another
            for place, line in enumerate(panel.rows):
                _draw_difference(made, axes, place, line, styles.get(line.favoured or "", NEUTRAL))
            told = "; ".join(f"{line.label} {line.note}" for line in panel.rows)
            alt = " ".join(f"Difference {panel.pair}, {panel.group} {panel.section}: {told}".split())
            made.panels.append(Panel(axes, panel.title, alt, section=panel.section))
    legend(made, level_markers(styles), f"colour: the model that {colour}\nfilled: adjusted p < 0.05")
    return made


def _draw_difference(made: Sheet, axes: Axes, place: int, line: Difference, style: Style) -> None:
    reach = axes.get_xlim()[1]
    ends = [(line["ci_low"], line.cut[0], "<"), (line["ci_high"], line.cut[1], ">")]
    shown = [math.copysign(reach * 0.98, end) if cut else end for end, cut, _ in ends]
    axes.plot(shown, [place] * 2, color=style.colour, linewidth=1.6, solid_capstyle="butt")
    for end, (_, cut, arrow) in zip(shown, ends, strict=True):
        if cut:
            axes.plot(end, place, arrow, color=style.colour, markersize=5)
    p = "" if math.isnan(line["p_adjusted"]) else f"  p {p_equals(line['p_adjusted'])}"
    axes.text(
        1.03, place, f"{signed(line['difference'])}{p}", transform=axes.get_yaxis_transform(), va="center",
        fontsize=SMALL, color=INK,
    )  # fmt: skip
    if math.isfinite(line["difference"]):
        (point,) = axes.plot(
            line["difference"], place, style.marker, color=style.colour, markersize=5.5, markeredgewidth=1.4,
            markerfacecolor=style.colour if line.significant else PAPER,
        )  # fmt: skip
        verdict = line.line.get("verdict")
        said = f"; {verdict}" if isinstance(verdict, str) else ""
        made.note(point, [f"{line.label}: {line.note}{said}"])


def axis_figure(panels: Sequence[AxisPanel]) -> Sheet:
    """Test knees along the axis of each cell, a row a grade, with the mean of each."""
    made, (grid,) = sheet([(len(panels), 2.45)], 3.2)
    for panel, axes in zip(panels, grid, strict=False):
        grades = sorted(set(panel.grades.tolist()))  # MISSING first
        names = list(map(grade_name, grades))
        plain(axes, f"{panel.title}\n{panel.summary}".strip(), across="coordinate along PC1")
        axes.grid(axis="y", color=axes.get_xgridlines()[0].get_color(), linewidth=0.8)
        axes.set_yticks(range(len(grades)), names)
        axes.set_ylim(-0.6, len(grades) - 0.4)
        means = {}
        for place, grade in enumerate(grades):
            inside = panel.grades == grade
            values = panel.projection[inside]
            spread = 0.5 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)
            points = axes.scatter(
                values, place + spread, s=14, color=panel.style.colour, alpha=0.65, linewidths=0,
                marker=panel.style.marker,
            )  # fmt: skip
            knees = [knee for knee, shown in zip(panel.knees, inside, strict=True) if shown]
            texts = [
                f"{knee}, {names[place]}: {value:.2f}" for knee, value in zip(knees, values, strict=True)
            ]
            made.note(points, texts)
            means[place] = float(values.mean())
        told = [place for place, grade in enumerate(grades) if grade != MISSING]
        (line,) = axes.plot(
            [means[place] for place in told], told, color=INK, marker="D", markersize=5, linewidth=1,
            markerfacecolor=PAPER,
        )  # fmt: skip
        made.note(line, [f"mean of {names[place]}: {means[place]:.2f}" for place in told])
        alt = f"{panel.title}: {len(panel.knees)} test knees along the severity axis, a row a grade."
        made.panels.append(Panel(axes, panel.title, f"{alt} {panel.summary}", panel.summary))
    return made


def confusion_figure(panels: Sequence[PredictionPanel], task: str) -> Sheet:
    """Confusion matrices of all conditions; colour is the share of the true class."""
    shown = [panel for panel in panels if task in panel.confusion]
    names = shown[0].classes[task]
    size = len(names)
    seeds = [f", {panel.cells} seeds" if panel.cells > 1 else "" for panel in shown]
    titles = [panel.marked(task) + extra for panel, extra in zip(shown, seeds, strict=True)]
    width = max(0.9 + 0.42 * size, 0.8 + 0.07 * max(map(len, titles)))
    made, (grid,) = sheet([(len(shown), 0.75 + 0.36 * size)], width)
    for panel, title, axes in zip(shown, titles, grid, strict=False):
        counts = panel.confusion[task]
        share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
        plain(axes, title, across="predicted")
        axes.grid(visible=False)
        axes.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for row, column in np.ndindex(*counts.shape):
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=SMALL,
                color="white" if share[row, column] > 0.55 else INK if counts[row, column] else GREY,
            )  # fmt: skip
        axes.set_xticks(range(size), names)
        axes.set_yticks(range(size), names)
        axes.set_ylabel("true", fontsize=SMALL, color=INK)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return made
