"""The same charts as files for papers, drawn without pyplot."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.callbacks.figures import DOTS_PER_INCH, GREY, INK
from oahier.study.report.axes import AxisPanel
from oahier.study.report.forest import ForestPanel, shared_range
from oahier.study.report.names import MARKERS, Style, level_name
from oahier.study.report.panels import CLASSES, PredictionPanel, SaliencyPanel, SpreadPanel
from oahier.study.report.text import p_equals, signed
from oahier.types import KL_GRADES, MISSING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEUTRAL = Style("#7f7f7f", "circle")


def forest_figure(panels: Sequence[ForestPanel], styles: Mapping[str, Style], colour: str) -> Figure:
    """One group of comparisons: a column a pair, a row a section.

    Args:
        panels: of the group.
        styles: of the compared levels.
        colour: what the level whose colour a difference has does, as ``"does better"``.
    """
    sections = list(dict.fromkeys(panel.section for panel in panels))
    pairs = list(dict.fromkeys((panel.model_a, panel.model_b) for panel in panels))
    by_place = {(panel.section, (panel.model_a, panel.model_b)): panel for panel in panels}
    most = [max(len(panel.rows) for panel in panels if panel.section == section) for section in sections]
    figure = _figure(1.2 + 3.1 * len(pairs), 0.7 + sum(0.62 + 0.27 * rows for rows in most))
    grid = figure.subplots(
        len(sections), len(pairs), squeeze=False, height_ratios=[rows + 1.8 for rows in most]
    )
    for row, section in enumerate(sections):
        reach = shared_range([panel for panel in panels if panel.section == section])
        before: list[str] = []
        for axes, pair in zip(grid[row], pairs, strict=True):
            panel = by_place.get((section, pair))
            if panel is None:
                axes.set_visible(False)
                continue
            labels = [line.label for line in panel.rows]
            _draw_forest(axes, panel, styles, reach, names=labels != before)
            before = labels
    if panels[0].group:
        figure.suptitle(panels[0].group, fontsize=10.5, color=INK)
    _level_legend(figure, styles, f"colour: the model that {colour}; filled: adjusted p < 0.05")
    return figure


def _draw_forest(
    axes: Axes, panel: ForestPanel, styles: Mapping[str, Style], reach: float, *, names: bool
) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    for place, row in enumerate(panel.rows):
        style = styles.get(row.favoured or "", _NEUTRAL)
        axes.plot(
            [row.low, row.high], [place, place], color=style.colour, linewidth=1.6, solid_capstyle="butt"
        )
        axes.plot(
            row.difference, place, MARKERS[style.symbol], color=style.colour, markersize=5.5,
            markerfacecolor=style.colour if row.significant else "white", markeredgewidth=1.4,
        )  # fmt: skip
        p = "" if math.isnan(row.p_adjusted) else f"  p {p_equals(row.p_adjusted)}"
        axes.text(
            1.02, place, f"{signed(row.difference)}{p}", transform=axes.get_yaxis_transform(), va="center",
            fontsize=7.5, color=INK,
        )  # fmt: skip
    axes.set_yticks(range(len(panel.rows)), [row.label if names else "" for row in panel.rows])
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.set_xlim(-reach, reach)
    axes.set_title(panel.title, fontsize=9, color=INK, loc="left")
    _plain(axes, bare_left=True)


def axis_figure(panels: Sequence[AxisPanel]) -> Figure:
    """Test knees along the axis of each cell, a row a grade."""
    grid, figure = _grid(len(panels), width=2.9, height=2.35)
    for axes, panel in zip(grid, panels, strict=False):
        grades = [grade for grade in (MISSING, *range(KL_GRADES)) if (panel.grades == grade).any()]
        means = []
        for place, grade in enumerate(grades):
            values = panel.projection[panel.grades == grade]
            spread = 0.5 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)
            axes.scatter(
                values, place + spread, s=9, color=panel.style.colour, alpha=0.65, linewidths=0,
                marker=MARKERS[panel.style.symbol],
            )  # fmt: skip
            means.append(values.mean())
        told = [place for place, grade in enumerate(grades) if grade != MISSING]
        axes.plot(
            [means[place] for place in told], told, color=INK, marker="D", markersize=4.5, linewidth=1,
            markerfacecolor="white",
        )  # fmt: skip
        axes.set_yticks(
            range(len(grades)), ["no grade" if grade == MISSING else f"KL {grade}" for grade in grades]
        )
        axes.set_ylim(-0.6, len(grades) - 0.4)
        axes.set_title(f"{panel.title}\n{panel.summary}".strip(), fontsize=8, color=INK, loc="left")
        _plain(axes)
    _hide_rest(grid, len(panels))
    figure.supxlabel(
        "coordinate of the test knees along the first principal component", fontsize=8.5, color=INK
    )
    return figure


def confusion_figure(panels: Sequence[PredictionPanel], task: str) -> Figure:
    """Confusion matrices of all conditions; colour is the share of the true class."""
    shown = [panel for panel in panels if task in panel.confusion]
    size = len(CLASSES[task])
    grid, figure = _grid(len(shown), width=0.9 + 0.42 * size, height=0.75 + 0.36 * size)
    for axes, panel in zip(grid, shown, strict=False):
        counts = panel.confusion[task]
        share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
        axes.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for row, column in np.ndindex(*counts.shape):
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                color="white" if share[row, column] > 0.55 else INK if counts[row, column] else GREY,
            )  # fmt: skip
        axes.set_xticks(range(size), CLASSES[task])
        axes.set_yticks(range(size), CLASSES[task])
        axes.set_xlabel("predicted", fontsize=8)
        axes.set_ylabel("true", fontsize=8)
        axes.set_title(_condition(panel, task), fontsize=8, color=INK)
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
    _hide_rest(grid, len(shown))
    return figure


def _condition(panel: PredictionPanel, task: str) -> str:
    return (
        panel.condition + "†" * (task in panel.probes) + (f", {panel.cells} seeds" if panel.cells > 1 else "")
    )


def reliability_figure(panels: Sequence[PredictionPanel], task: str) -> Figure:
    """Reliability curves, one panel a group, one curve a condition."""
    shown = [panel for panel in panels if task in panel.curves]
    groups = list(dict.fromkeys(panel.group for panel in shown))
    grid, figure = _grid(len(groups), width=3.1, height=3.3)
    words = (
        ("probability of OA", "share with OA") if task == "OA" else ("confidence in the grade", "share right")
    )
    for axes, group in zip(grid, groups, strict=False):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        for panel in shown:
            if panel.group != group:
                continue
            mean, share, amount = panel.curves[task]
            name = (panel.contrast or panel.condition) + "†" * (task in panel.probes)
            axes.plot(mean, share, color=panel.style.colour, linewidth=1.2)
            axes.scatter(
                mean, share, s=np.clip(250 * amount / amount.sum(), 12, 150), color=panel.style.colour,
                marker=MARKERS[panel.style.symbol], label=name, linewidths=0,
            )  # fmt: skip
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(words[0], fontsize=8.5)
        axes.set_ylabel(words[1], fontsize=8.5)
        axes.set_title(", ".join(part for part in (group, task) if part), fontsize=9, color=INK)
        _plain(axes)
    _hide_rest(grid, len(groups))
    handles = {
        label: handle
        for axes in grid
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    legend = figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    for handle in legend.legend_handles:
        handle.set_sizes([28])  # type: ignore[union-attr]  # handles of scatter plots
    return figure


def spread_figure(panels: Sequence[SpreadPanel]) -> Figure:
    """Every seed of every condition, a panel a metric."""
    rows = max(len(panel.rows) for panel in panels)
    grid, figure = _grid(len(panels), width=2.9, height=0.75 + 0.2 * rows, columns=4)
    columns = min(len(panels), 4)
    for place, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
        for height, row in enumerate(panel.rows):
            colour = row.style.colour
            axes.plot([row.low, row.high], [height, height], color=colour, alpha=0.3, linewidth=5,
                      solid_capstyle="butt")  # fmt: skip
            axes.plot(row.mean, height, "|", color=INK, markersize=9, markeredgewidth=1.6)
            axes.plot(
                row.values, [height] * len(row.values), MARKERS[row.style.symbol], color=colour,
                markersize=4.2, markeredgecolor="white", markeredgewidth=0.5,
            )  # fmt: skip
        labels = [row.condition + "†" * row.probe for row in panel.rows]
        axes.set_yticks(range(len(labels)), labels if place % columns == 0 else [""] * len(labels))
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_title(panel.title, fontsize=9, color=INK, loc="left")
        axes.locator_params(axis="x", nbins=4)
        _plain(axes, bare_left=True)
    _hide_rest(grid, len(panels))
    return figure


def saliency_figure(panels: Sequence[SaliencyPanel]) -> Figure:
    """Enrichment beside its controls, a panel a method."""
    rows = max(len(panel.rows) for panel in panels)
    grid, figure = _grid(len(panels), width=4.1, height=0.95 + 0.26 * rows, columns=2)
    for axes, panel in zip(grid, panels, strict=False):
        axes.axvline(1, color=GREY, linestyle="--", linewidth=1, label="chance")
        for height, row in enumerate(panel.rows):
            axes.plot([row.low, row.high], [height, height], color=row.style.colour, linewidth=1.6)
            axes.plot(row.value, height, MARKERS[row.style.symbol], color=row.style.colour, markersize=6)
        heights = range(len(panel.rows))
        axes.plot([row.other for row in panel.rows], heights, "^", color=INK, markersize=5,
                  markerfacecolor="none", linestyle="", label="other knees' cartilage")  # fmt: skip
        axes.plot([row.randomised for row in panel.rows], heights, "x", color=INK, markersize=5,
                  linestyle="", label="random weights")  # fmt: skip
        axes.set_yticks(heights, [row.condition for row in panel.rows])
        axes.set_ylim(len(panel.rows) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel("enrichment of saliency in cartilage", fontsize=8.5)
        axes.set_title(panel.title, fontsize=9, color=INK, loc="left")
        _plain(axes, bare_left=True)
    _hide_rest(grid, len(panels))
    handles = grid[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def saved(figure: Figure) -> Iterator[tuple[str, bytes]]:
    """A figure as PNG and SVG, the same bytes every time."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    options: Mapping[str, Mapping[str, Any]] = {
        "png": {"metadata": {"Software": None}},
        "svg": {"metadata": {"Date": None, "Creator": None}},
    }
    for kind, option in options.items():
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "oahier", "svg.fonttype": "none"}):
            figure.savefig(content, format=kind, **option)
        figure.set_layout_engine("none")  # the second file has the places that were found for the first
        yield kind, content.getvalue()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")


def _grid(amount: int, *, width: float, height: float, columns: int = 3) -> tuple[list[Axes], Figure]:
    across = max(1, min(amount, columns))
    down = max(1, -(-amount // across))
    figure = _figure(0.3 + width * across, 0.3 + height * down)
    return list(figure.subplots(down, across, squeeze=False).flat), figure


def _hide_rest(grid: Sequence[Axes], used: int) -> None:
    for axes in grid[used:]:
        axes.set_visible(False)


def _plain(axes: Axes, *, bare_left: bool = False) -> None:
    axes.spines[["top", "right", *(["left"] if bare_left else [])]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    if bare_left:
        axes.tick_params(axis="y", length=0)


def _level_legend(figure: Figure, styles: Mapping[str, Style], words: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=style.colour, marker=MARKERS[style.symbol], linestyle="", label=level_name(level)
        )
        for level, style in styles.items()
    ]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles) + 1, fontsize=8, frameon=False,
            title=words, title_fontsize=8,
        )  # fmt: skip
