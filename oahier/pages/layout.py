"""Grids of panels, axes and legends in one manner, drawn without pyplot."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from oahier.pages.charts import DOTS_PER_INCH, GRID, INK, PAPER, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS, SMALL = 8.5, 8
COLUMNS = 3


def sheet(
    sections: Sequence[tuple[int, float]], width: float, title: str = ""
) -> tuple[Sheet, list[list[Axes]]]:
    """A figure of panels, up to three in a row; every section begins a row.

    Args:
        sections: number of panels of each section, and their height in inches.
        width: of a panel, in inches.
        title: of the figure.

    Returns:
        The figure, and the axes of every section; those that nothing is drawn into stay hidden.
    """
    from matplotlib.figure import Figure

    columns = max(min(COLUMNS, amount) for amount, _ in sections)
    rows = [-(-amount // columns) for amount, _ in sections]
    heights = [height for (_, height), count in zip(sections, rows, strict=True) for _ in range(count)]
    figure = Figure(
        figsize=(0.2 + columns * width, 0.6 + sum(heights)), dpi=DOTS_PER_INCH, layout="constrained",
        facecolor=PAPER,
    )  # fmt: skip
    grid = iter(figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights))
    axes = [[one for _ in range(count) for one in next(grid)] for count in rows]
    for part in axes:
        for one in part:
            one.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10.5, color=INK)
    return Sheet(figure, title), axes


def room(labels: Iterable[str]) -> tuple[float, float]:
    """Width of the labels of rows and height of a row, in inches.

    >>> room(["QWK"]), room(["SmoothGrad × input of the OA head"])
    ((0.2, 0.22), (1.39, 0.36))
    """
    lines = [_wrapped(label) for label in labels]
    widest = max((len(line) for label in lines for line in label), default=0)
    return round(0.066 * widest, 2), round(0.08 + 0.14 * max(map(len, lines), default=1), 2)


def _wrapped(label: str) -> list[str]:
    return textwrap.wrap(label, 22) or [""]


def plain(axes: Axes, title: str, *, across: str = "", rows: Sequence[str] | None = None) -> None:
    """Bare axes with a heading; with ``rows``, one labelled row each, the first on top.

    Args:
        axes: to be shown.
        title: above them.
        across: what the horizontal axis shows.
        rows: labels.
    """
    axes.set_visible(True)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=LETTERS, color=INK, loc="left")
    axes.set_xlabel(across, fontsize=LETTERS, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(INK)
    axes.tick_params(labelsize=SMALL, colors=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    if rows is not None:
        axes.set_yticks(range(len(rows)), ["\n".join(_wrapped(row)) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)


def legend(sheet: Sheet, handles: Sequence[Any], title: str = "") -> None:
    """A legend below all panels, where it covers nothing."""
    if handles:
        sheet.figure.legend(
            handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=SMALL,
            frameon=False, title=title, title_fontsize=SMALL, labelcolor=INK,
        )  # fmt: skip
