"""Interactive charts of a page, as plotly figures.

Colours that differ between light and dark pages have stand-ins, which the page's script replaces by those of
its style sheet. All text is escaped: plotly reads it as HTML.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.study.report.axes import AxisPanel
from oahier.study.report.forest import ForestPanel, ForestRow
from oahier.study.report.names import Style, level_name
from oahier.study.report.panels import PredictionPanel, SaliencyPanel, SpreadPanel
from oahier.study.report.text import interval, number, p_equals, signed
from oahier.types import KL_GRADES, MISSING

if TYPE_CHECKING:
    import plotly.graph_objects as go

INK, MUTED, SURFACE = "#010101", "#020202", "#030303"
"""Stand-ins for the page's colours of text, of lesser lines and of its ground."""
_ROW = 27
_NEUTRAL = Style("#7f7f7f", "circle")


@dataclass(frozen=True)
class Chart:
    """A chart with what stands around it.

    Args:
        title: heading.
        alt: what it shows, for those who do not see it.
        height: in pixels.
        figure: data and layout as plotly reads them.
    """

    title: str
    alt: str
    height: int
    figure: Mapping[str, Any]


def forest_chart(panel: ForestPanel, styles: Mapping[str, Style], reach: float) -> Chart:
    """Differences with intervals; filled where the adjusted p is below 0.05."""
    go = _plotly()
    figure = go.Figure()
    for place, row in enumerate(panel.rows):
        style = styles.get(row.favoured or "", _NEUTRAL)
        figure.add_trace(
            go.Scatter(
                x=[row.difference], y=[place], mode="markers", showlegend=False,
                marker={
                    "size": 10, "symbol": style.symbol, "color": style.colour if row.significant else SURFACE,
                    "line": {"width": 2, "color": style.colour},
                },
                error_x={
                    "type": "data", "symmetric": False, "array": [_positive(row.high - row.difference)],
                    "arrayminus": [_positive(row.difference - row.low)], "color": style.colour,
                    "thickness": 2, "width": 0,
                },
                hovertemplate=_safe(_forest_hover(row)) + "<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(
        annotations=[
            {
                "x": 1.01, "xref": "paper", "xanchor": "left", "y": place, "yref": "y", "showarrow": False,
                "text": _safe(f"{signed(row.difference)}  p {p_equals(row.p_adjusted)}")
                if not math.isnan(row.p_adjusted)
                else _safe(signed(row.difference)),
                "font": {"size": 11},
            }
            for place, row in enumerate(panel.rows)
        ],
        xaxis={"range": [-reach, reach], "zeroline": True, "zerolinecolor": MUTED, "zerolinewidth": 1.5},
        yaxis=_rows([row.label for row in panel.rows]),
        margin={"l": 8, "r": 108, "t": 6, "b": 30},
    )  # fmt: skip
    lines = [f"{row.label} {row.note}" for row in panel.rows]
    alt = f"Difference {panel.pair}, {panel.group} {panel.section}: {'; '.join(lines)}".replace("  ", " ")
    return _chart(panel.title, alt, 44 + _ROW * len(panel.rows), figure)


def _forest_hover(row: ForestRow) -> str:
    better = f"; {level_name(row.favoured)} does better" if row.favoured else ""
    return f"{row.label}: {row.note}{better}"


def axis_chart(panel: AxisPanel, reach: tuple[float, float] | None = None) -> Chart:
    """Test knees along the axis, a row a grade, with the mean of each."""
    go = _plotly()
    grades = [grade for grade in (MISSING, *range(KL_GRADES)) if (panel.grades == grade).any()]
    figure = go.Figure()
    means = []
    for place, grade in enumerate(grades):
        inside = panel.grades == grade
        values = panel.projection[inside]
        spread = 0.5 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)
        figure.add_trace(
            go.Scatter(
                x=_plain(values), y=_plain(place + spread), mode="markers", showlegend=False,
                marker={
                    "size": 6, "color": panel.style.colour, "opacity": 0.6, "symbol": panel.style.symbol,
                },
                text=[_safe(knee) for knee, shown in zip(panel.knees, inside, strict=True) if shown],
                hovertemplate=f"%{{text}}, {_grade(grade)}: %{{x:.2f}}<extra></extra>",
            )
        )  # fmt: skip
        means.append(float(values.mean()))
    told = [place for place, grade in enumerate(grades) if grade != MISSING]
    figure.add_trace(
        go.Scatter(
            x=[means[place] for place in told], y=told, mode="lines+markers", showlegend=False,
            line={"color": INK, "width": 1.4},
            marker={"symbol": "diamond", "size": 9, "color": SURFACE, "line": {"color": INK, "width": 1.6}},
            hovertemplate="mean %{x:.2f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "coordinate along PC1", "font": {"size": 11}}, "zeroline": False},
        yaxis={
            "tickvals": list(range(len(grades))), "ticktext": [_grade(grade) for grade in grades],
            "range": [-0.6, len(grades) - 0.4], "zeroline": False, "automargin": True,
        },
        margin={"l": 8, "r": 8, "t": 4, "b": 38},
    )  # fmt: skip
    if reach is not None:
        figure.update_layout(xaxis_range=list(reach))
    alt = f"{panel.title}: {len(panel.knees)} test knees along the severity axis by KL grade. {panel.summary}"
    return _chart(panel.title, alt, 60 + 34 * len(grades), figure)


def _grade(grade: int) -> str:
    return "no grade" if grade == MISSING else f"KL {grade}"


def reliability_chart(panels: Sequence[PredictionPanel], task: str) -> Chart:
    """Reliability curves of the conditions of one group; the area of a marker follows its count."""
    go = _plotly()
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
                x=_plain(mean), y=_plain(share), mode="lines+markers",
                name=_safe(name + "†" * (task in panel.probes)),
                line={"color": panel.style.colour, "width": 1.6},
                marker={
                    "symbol": panel.style.symbol, "color": panel.style.colour,
                    "size": _plain(np.clip(3 + 16 * np.sqrt(amount / amount.sum()), 5, 18)),
                },
                customdata=[int(value) for value in amount],
                hovertemplate=f"{_safe(name)}: predicted %{{x:.2f}}, observed %{{y:.2f}}, %{{customdata}} "
                "predictions<extra></extra>",
            )
        )  # fmt: skip
    words = ("probability of OA", "share with OA") if task == "OA" else ("confidence in the grade", "share right")
    figure.update_layout(
        xaxis={"title": {"text": words[0], "font": {"size": 11}}, "range": [-0.03, 1.03], "zeroline": False},
        yaxis={"title": {"text": words[1], "font": {"size": 11}}, "range": [-0.03, 1.03], "zeroline": False},
        legend={"orientation": "h", "y": -0.22, "x": 0.5, "xanchor": "center", "yanchor": "top"},
        margin={"l": 44, "r": 8, "t": 4, "b": 70},
    )
    group = shown[0].group if shown else ""
    title = ", ".join(part for part in (group, task) if part)
    alt = f"Reliability, {title}: {words[1]} against {words[0]} for {', '.join(p.condition for p in shown)}."
    return _chart(title, alt, 340, figure)


def spread_chart(panel: SpreadPanel) -> Chart:
    """Every seed as a point, the mean as a line with its interval."""
    go = _plotly()
    figure = go.Figure()
    for place, row in enumerate(panel.rows):
        colour, name = row.style.colour, row.condition + "†" * row.probe
        figure.add_trace(
            go.Scatter(
                x=[_finite(row.low), _finite(row.high)], y=[place, place], mode="lines", showlegend=False,
                line={"color": colour, "width": 6}, opacity=0.3,
                hovertemplate=_safe(f"{name}: mean {number(row.mean, 3)} {interval(row.low, row.high, 3)}")
                + "<extra></extra>",
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[_finite(row.mean)], y=[place], mode="markers", showlegend=False, hoverinfo="skip",
                marker={"symbol": "line-ns", "size": 15, "line": {"width": 2.5, "color": INK}},
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[_finite(value) for value in row.values], y=[place] * len(row.values), mode="markers",
                showlegend=False, text=[_safe(seed) for seed in row.seeds],
                marker={"symbol": row.style.symbol, "size": 8, "color": colour,
                        "line": {"color": SURFACE, "width": 1}},
                hovertemplate=f"{_safe(name)}, seed %{{text}}: %{{x:.3f}}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(
        yaxis=_rows([row.condition + "†" * row.probe for row in panel.rows]),
        xaxis={"zeroline": False, "nticks": 6},
        margin={"l": 8, "r": 12, "t": 4, "b": 26},
    )
    lines = [f"{row.condition} {', '.join(number(value) for value in row.values)}" for row in panel.rows]
    return _chart(panel.title, f"{panel.title}, every seed: {'; '.join(lines)}", 40 + 25 * len(panel.rows), figure)


def saliency_chart(panel: SaliencyPanel) -> Chart:
    """Enrichment with its interval beside chance, other knees' cartilage and random weights."""
    go = _plotly()
    figure = go.Figure()
    places = list(range(len(panel.rows)))
    for place, row in enumerate(panel.rows):
        figure.add_trace(
            go.Scatter(
                x=[_finite(row.value)], y=[place], mode="markers", showlegend=False,
                marker={"symbol": row.style.symbol, "size": 10, "color": row.style.colour},
                error_x={
                    "type": "data", "symmetric": False, "array": [_positive(row.high - row.value)],
                    "arrayminus": [_positive(row.value - row.low)], "color": row.style.colour, "thickness": 2,
                    "width": 0,
                },
                hovertemplate=_safe(
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
                    x=[_finite(value) for value in values], y=places, mode="markers", name=name,
                    marker={"symbol": symbol, "size": 9, "color": INK, "line": {"width": 1.8, "color": INK}},
                    hovertemplate=f"{name}: %{{x:.2f}}<extra></extra>",
                )
            )  # fmt: skip
    figure.add_vline(x=1, line={"color": MUTED, "dash": "dash", "width": 1.5})
    figure.update_layout(
        yaxis=_rows([row.condition for row in panel.rows]),
        xaxis={"title": {"text": "enrichment (dashed: chance)", "font": {"size": 11}}, "rangemode": "tozero"},
        legend={"orientation": "h", "y": -0.32, "x": 0.5, "xanchor": "center", "yanchor": "top"},
        margin={"l": 8, "r": 12, "t": 4, "b": 84},
    )
    lines = [
        f"{row.condition} {number(row.value)}, other knees {number(row.other)}, random weights "
        f"{number(row.randomised)}"
        for row in panel.rows
    ]
    alt = f"Enrichment of {panel.title}: {'; '.join(lines)}"
    return _chart(panel.title, alt, 116 + 28 * len(panel.rows), figure)


def _rows(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(labels))), "ticktext": [_safe(label) for label in labels],
        "range": [len(labels) - 0.5, -0.5], "zeroline": False, "showgrid": False, "automargin": True,
    }  # fmt: skip


def _chart(title: str, alt: str, height: int, figure: go.Figure) -> Chart:
    figure.update_layout(height=height, hovermode="closest", dragmode=False, template=None)
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    return Chart(title, alt, height, content)


def _plotly() -> Any:
    import plotly.graph_objects as go

    return go


def _safe(text: str) -> str:
    return html.escape(text, quote=False)


def _positive(length: float) -> float | None:
    return max(0.0, length) if math.isfinite(length) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]
