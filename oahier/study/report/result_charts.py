"""Interactive charts of calibration, seeds and saliency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oahier.study.report.charts import (
    INK,
    MUTED,
    SURFACE,
    Chart,
    chart,
    finite,
    plain,
    plotly,
    positive,
    rows_axis,
    safe,
)
from oahier.study.report.names import arrow
from oahier.study.report.panels import PredictionPanel, SaliencyPanel, SpreadPanel
from oahier.study.report.text import interval, number


def reliability_chart(panels: Sequence[PredictionPanel], task: str) -> Chart:
    """Reliability curves of the conditions of one group; the area of a marker follows its count."""
    go = plotly()
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dash", "width": 1},
            hoverinfo="skip", showlegend=False,
        )
    )  # fmt: skip
    shown = [panel for panel in panels if task in panel.curves]
    for panel in shown:
        mean, share, amount = panel.curves[task]
        name = panel.contrast or panel.condition
        figure.add_trace(
            go.Scatter(
                x=plain(mean), y=plain(share), mode="lines+markers",
                showlegend=False,
                line={"color": panel.style.colour, "width": 1.6},
                marker={
                    "symbol": panel.style.symbol, "color": panel.style.colour,
                    "size": plain(np.clip(3 + 16 * np.sqrt(amount / amount.sum()), 5, 18)),
                },
                customdata=[int(value) for value in amount],
                hovertemplate=f"{safe(name)}: predicted %{{x:.2f}}, observed %{{y:.2f}}, %{{customdata}} "
                "predictions<extra></extra>",
            )
        )  # fmt: skip
    words = (
        ("probability of OA", "share with OA") if task == "OA" else ("confidence in the grade", "share right")
    )
    figure.update_layout(
        xaxis={"title": {"text": words[0], "font": {"size": 11}}, "range": [-0.03, 1.03], "zeroline": False},
        yaxis={"title": {"text": words[1], "font": {"size": 11}}, "range": [-0.03, 1.03], "zeroline": False},
        margin={"l": 44, "r": 8, "t": 4, "b": 40},
    )
    group = shown[0].group if shown else ""
    title = ", ".join(part for part in (group, task) if part)
    alt = f"Reliability, {title}: {words[1]} against {words[0]} for {', '.join(p.condition for p in shown)}."
    return chart(title, alt, 300, figure)


def spread_chart(panel: SpreadPanel) -> Chart:
    """Every seed as a point, the mean as a line with its interval."""
    go = plotly()
    figure = go.Figure()
    for place, row in enumerate(panel.rows):
        colour, name = row.style.colour, row.condition + "†" * row.probe
        figure.add_trace(
            go.Scatter(
                x=[finite(row.low), finite(row.high)], y=[place, place], mode="lines", showlegend=False,
                line={"color": colour, "width": 6}, opacity=0.3,
                hovertemplate=safe(f"{name}: mean {number(row.mean, 3)} {interval(row.low, row.high, 3)}")
                + "<extra></extra>",
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[finite(row.mean)], y=[place], mode="markers", showlegend=False, hoverinfo="skip",
                marker={"symbol": "line-ns", "size": 15, "line": {"width": 2.5, "color": INK}},
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[finite(value) for value in row.values], y=[place] * len(row.values), mode="markers",
                showlegend=False, text=[safe(seed) for seed in row.seeds],
                marker={"symbol": row.style.symbol, "size": 8, "color": colour,
                        "line": {"color": SURFACE, "width": 1}},
                hovertemplate=f"{safe(name)}, seed %{{text}}: %{{x:.3f}}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(
        yaxis=rows_axis([row.condition + "†" * row.probe for row in panel.rows]),
        xaxis={"zeroline": False, "nticks": 5, "range": _padded(panel)},
        margin={"l": 8, "r": 12, "t": 4, "b": 26},
    )
    lines = [f"{row.condition} {', '.join(number(value) for value in row.values)}" for row in panel.rows]
    return chart(
        arrow(panel.metric),
        f"{panel.title}, every seed: {'; '.join(lines)}",
        40 + 25 * len(panel.rows),
        figure,
    )


def _padded(panel: SpreadPanel) -> list[float] | None:
    """From the least to the largest value that is shown, and a little more."""
    shown = [x for row in panel.rows for x in (*row.values, row.mean, row.low, row.high) if math.isfinite(x)]
    if not shown:
        return None
    gap = 0.05 * (max(shown) - min(shown)) or 0.05
    return [min(shown) - gap, max(shown) + gap]


def saliency_chart(panel: SaliencyPanel) -> Chart:
    """Enrichment with its interval beside chance, other knees' cartilage and random weights."""
    go = plotly()
    figure = go.Figure()
    places = list(range(len(panel.rows)))
    for place, row in enumerate(panel.rows):
        figure.add_trace(
            go.Scatter(
                x=[finite(row.value)], y=[place], mode="markers", showlegend=False,
                marker={"symbol": row.style.symbol, "size": 10, "color": row.style.colour},
                error_x={
                    "type": "data", "symmetric": False, "array": [positive(row.high - row.value)],
                    "arrayminus": [positive(row.value - row.low)], "color": row.style.colour, "thickness": 2,
                    "width": 0,
                },
                hovertemplate=safe(
                    f"{row.condition}: {number(row.value)} {interval(row.low, row.high)}"
                ) + "<extra></extra>",
            )
        )  # fmt: skip
    for name, symbol, values in (
        ("other knees' cartilage", "triangle-up-open", [row.other for row in panel.rows]),
        ("random weights", "x-thin", [row.randomised for row in panel.rows]),
    ):
        if not all(math.isnan(value) for value in values):
            figure.add_trace(
                go.Scatter(
                    x=[finite(value) for value in values], y=places, mode="markers", name=name,
                    marker={"symbol": symbol, "size": 9, "color": INK, "line": {"width": 1.8, "color": INK}},
                    hovertemplate=f"{name}: %{{x:.2f}}<extra></extra>",
                )
            )  # fmt: skip
    figure.add_vline(x=1, line={"color": MUTED, "dash": "dash", "width": 1.5})
    figure.update_layout(
        yaxis=rows_axis([row.condition for row in panel.rows]),
        xaxis={
            "title": {"text": "enrichment (dashed: chance)", "font": {"size": 11}},
            "rangemode": "tozero",
            "zeroline": False,
        },
        legend={"orientation": "h", "y": -0.32, "x": 0.5, "xanchor": "center", "yanchor": "top"},
        margin={"l": 8, "r": 12, "t": 4, "b": 84},
    )
    lines = [
        f"{row.condition} {number(row.value)}, other knees {number(row.other)}, random weights "
        f"{number(row.randomised)}"
        for row in panel.rows
    ]
    alt = f"Enrichment of {panel.title}: {'; '.join(lines)}"
    return chart(panel.title, alt, 116 + 28 * len(panel.rows), figure)
