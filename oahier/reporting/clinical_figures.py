"""Figures of a clinical report: calibration and net benefit of each event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oahier.clinical import smooth_curve
from oahier.pages.charts import GREY, INK, Panel, Sheet
from oahier.pages.layout import LETTERS, plain, sheet
from oahier.pages.text import number
from oahier.reporting.clinical_results import EventResult

COLOURS = ("#2166ac", "#d6604d")
_BINS = 10


def calibration_figure(groups: Sequence[Sequence[EventResult]]) -> Sheet:
    """Smooth calibration curves, a panel an event, with tenths of the knees as points."""
    made, (grid,) = sheet([(len(groups), 2.9)], 2.9)
    for group, axes in zip(groups, grid, strict=False):
        name = group[0].event.name
        plain(axes, name, across="predicted probability")
        axes.set_ylabel("share of knees", fontsize=LETTERS, color=INK)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        for one, colour in zip(group, COLOURS, strict=False):
            event = one.event
            if not event.defined:
                continue
            at = np.linspace(event.probability.min(), event.probability.max(), 60)
            axes.plot(at, smooth_curve(event.probability, event.happened, at), color=colour, linewidth=1.6)
            parts = np.array_split(np.argsort(event.probability, kind="stable"), _BINS)
            parts = [rows for rows in parts if len(rows)]
            x = [float(event.probability[rows].mean()) for rows in parts]
            y = [float(event.happened[rows].mean()) for rows in parts]
            points = axes.scatter(x, y, s=16, color=colour, linewidths=0)
            texts = [f"predicted {a:.2f}, observed {b:.2f}" for a, b in zip(x, y, strict=True)]
            made.note(points, [f"{one.variant}: {text}" for text in texts])
        told = "; ".join(f"{one.variant}: slope {number(one.calibration.slope.value)}" for one in group)
        made.panels.append(Panel(axes, name, f"Calibration of {name}. {told}", told))
    return made


def benefit_figure(groups: Sequence[Sequence[EventResult]]) -> Sheet:
    """Net benefit over thresholds, with intervals, beside acting on all and on none."""
    made, (grid,) = sheet([(len(groups), 2.7)], 2.9)
    for group, axes in zip(groups, grid, strict=False):
        name = group[0].event.name
        plain(axes, name, across="threshold probability")
        axes.set_ylabel("net benefit", fontsize=LETTERS, color=INK)
        share = group[0].calibration.observed.value
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.plot(group[0].curve.thresholds, group[0].curve.all, color=GREY, linewidth=1.2, linestyle="--")
        for one, colour in zip(group, COLOURS, strict=False):
            curve = one.curve
            axes.fill_between(curve.thresholds, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(curve.thresholds, curve.model, color=colour, linewidth=1.6)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.15 * share - 0.02, 1.1 * share + 0.02)
        middle = group[0].curve.model[np.searchsorted(group[0].curve.thresholds, 0.5)]
        told = f"share {number(share)}; at threshold 0.50: {number(float(middle), 3)}"
        made.panels.append(Panel(axes, name, f"Net benefit for {name}: {told}", told))
    return made
