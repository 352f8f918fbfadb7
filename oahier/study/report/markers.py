"""Handles of a legend for the compared levels of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oahier.study.report.names import Style, level_name


def marker(style: Style, label: str = "", **changes: Any) -> Any:
    """A handle of a legend."""
    from matplotlib.lines import Line2D

    look = {"color": style.colour, "marker": style.marker, "linestyle": "", "label": label}
    return Line2D([], [], **(look | changes))


def level_markers(styles: Mapping[str, Style]) -> list[Any]:
    """Handles of the compared levels."""
    return [marker(style, level_name(level)) for level, style in styles.items()]
