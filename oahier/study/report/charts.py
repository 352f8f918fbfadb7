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
from oahier.study.report.text import p_equals, signed
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
    go = plotly()
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
                    "type": "data", "symmetric": False, "array": [positive(row.high - row.difference)],
                    "arrayminus": [positive(row.difference - row.low)], "color": style.colour,
                    "thickness": 2, "width": 0,
                },
                hovertemplate=safe(_forest_hover(row)) + "<extra></extra>",
            )
        )  # fmt: skip
    figure.update_layout(
        annotations=[
            {
                "x": 1.01, "xref": "paper", "xanchor": "left", "y": place, "yref": "y", "showarrow": False,
                "text": safe(f"{signed(row.difference)}  p {p_equals(row.p_adjusted)}")
                if not math.isnan(row.p_adjusted)
                else safe(signed(row.difference)),
                "font": {"size": 11},
            }
            for place, row in enumerate(panel.rows)
        ],
        xaxis={"range": [-reach, reach], "zeroline": True, "zerolinecolor": MUTED, "zerolinewidth": 1.5},
        yaxis=rows_axis([row.label for row in panel.rows]),
        margin={"l": 8, "r": 108, "t": 6, "b": 30},
    )  # fmt: skip
    lines = [f"{row.label} {row.note}" for row in panel.rows]
    alt = f"Difference {panel.pair}, {panel.group} {panel.section}: {'; '.join(lines)}".replace("  ", " ")
    return chart(panel.title, alt, 44 + _ROW * len(panel.rows), figure)


def _forest_hover(row: ForestRow) -> str:
    better = f"; {level_name(row.favoured)} does better" if row.favoured else ""
    return f"{row.label}: {row.note}{better}"


def axis_chart(panel: AxisPanel, reach: tuple[float, float] | None = None) -> Chart:
    """Test knees along the axis, a row a grade, with the mean of each."""
    go = plotly()
    grades = [grade for grade in (MISSING, *range(KL_GRADES)) if (panel.grades == grade).any()]
    figure = go.Figure()
    means = []
    for place, grade in enumerate(grades):
        inside = panel.grades == grade
        values = panel.projection[inside]
        spread = 0.5 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)
        figure.add_trace(
            go.Scatter(
                x=plain(values), y=plain(place + spread), mode="markers", showlegend=False,
                marker={
                    "size": 6, "color": panel.style.colour, "opacity": 0.6, "symbol": panel.style.symbol,
                },
                text=[safe(knee) for knee, shown in zip(panel.knees, inside, strict=True) if shown],
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
    return chart(panel.title, alt, 60 + 34 * len(grades), figure)


def _grade(grade: int) -> str:
    return "no grade" if grade == MISSING else f"KL {grade}"


def rows_axis(labels: Sequence[str]) -> dict[str, Any]:
    """A vertical axis with a label a row, the first on top."""
    return {
        "tickvals": list(range(len(labels))), "ticktext": [safe(label) for label in labels],
        "range": [len(labels) - 0.5, -0.5], "zeroline": False, "showgrid": False, "automargin": True,
    }  # fmt: skip


def chart(title: str, alt: str, height: int, figure: go.Figure) -> Chart:
    """A chart from a figure, without the default template."""
    figure.update_layout(height=height, hovermode="closest", dragmode=False, template=None)
    content = json.loads(figure.to_json())
    content["layout"].pop("template", None)
    return Chart(title, alt, height, content)


def plotly() -> Any:
    """The module of figures, imported where it is used."""
    import plotly.graph_objects as go

    return go


def safe(text: str) -> str:
    """Text that plotly shows as it is."""
    return html.escape(text, quote=False)


def positive(length: float) -> float | None:
    """The length of an arm of an interval; none where it is undefined."""
    return max(0.0, length) if math.isfinite(length) else None


def finite(value: float) -> float | None:
    """A number, or nothing where it is undefined, as JSON has no NaN."""
    return value if math.isfinite(value) else None


def plain(values: Any) -> list[float]:
    """Numbers as plotly reads them from JSON."""
    return [round(float(value), 5) for value in values]
