"""Figures of predictions. Figures are made without pyplot, so nothing of a user's session changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.metrics import Reliability
from oahier.pages.charts import DOTS_PER_INCH, GREY, INK

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2166ac", "#d6604d"


def confusion_picture(
    counts: npt.NDArray[np.integer], classes: Sequence[str], title: str, boundary: int | None = None
) -> Figure:
    """Confusion matrix: rows are true classes, colour is the share of the row, numbers are knees.

    Args:
        counts: ``(classes, classes)``, rows true, columns predicted.
        classes: name of each class.
        title: heading; the number of knees is added.
        boundary: draw lines before this class, as between no OA and OA on the KL scale.
    """
    figure = _figure(1.9 + 0.62 * len(classes), 1.35 + 0.55 * len(classes))
    axes = figure.add_subplot()
    total = counts.sum(axis=1)
    share = counts / np.maximum(total, 1)[:, None]
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row, column in np.ndindex(*counts.shape):
        number = counts[row, column]
        text = f"{number}\n{100 * share[row, column]:.0f} %" if number else "0"
        colour = "white" if share[row, column] > 0.6 else INK if number else GREY
        axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour, linespacing=1.05)
    if boundary is not None:
        axes.axhline(boundary - 0.5, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.axvline(boundary - 0.5, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), [f"{name}  (n={n})" for name, n in zip(classes, total, strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{title}, {_knees(int(counts.sum()))}", fontsize=10)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.ax.spines[:].set_visible(False)
    return figure


def reliability_picture(curve: Reliability, title: str, labels: tuple[str, str], note: str = "") -> Figure:
    """Reliability curve with 95 % Wilson intervals, over the number of knees in each bin.

    Args:
        curve: bins from :func:`oahier.metrics.reliability`.
        title: heading; the number of knees is added.
        labels: what the horizontal and the vertical axis show.
        note: second line of the heading, for example a calibration error.
    """
    figure = _figure(3.9, 4.4)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    count = curve.count
    filled = count > 0
    x, y, n = curve.confidence[filled], curve.frequency[filled], count[filled]
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfectly calibrated")
    axes.errorbar(x, y, yerr=_wilson_arms(y, n), fmt="o", color=BLUE, markersize=4.5, elinewidth=1,
                  label="observed, 95 % interval")  # fmt: skip
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel(labels[1])
    heading = f"{title}, {_knees(int(count.sum()))}"
    axes.set_title(f"{heading}\n{note}" if note else heading, fontsize=10)
    edges = np.linspace(0, 1, len(count) + 1)
    below.bar(
        edges[:-1], count, width=1 / len(count), align="edge", color=BLUE, edgecolor="white", linewidth=0.6
    )
    below.set_xlim(-0.03, 1.03)
    below.set_xlabel(labels[0])
    below.set_ylabel("knees")
    below.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False
    )
    _plain(axes, below)
    return figure


def curves_picture(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], across: str = "epoch"
) -> Figure:
    """Curves over training, one panel a group; training values orange, validation values blue.

    Args:
        panels: per panel title, per curve label (``"train loss"``, ``"val qwk"``), points ``(x, y)``.
        across: what the horizontal axis counts.
    """
    columns = min(len(panels), 3) or 1
    rows = -(-len(panels) // columns) or 1
    figure = _figure(0.4 + 3.3 * columns, 0.3 + 3.0 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        _draw_curves(axes, curves)
        axes.set_title(_readable(title), fontsize=10)
        axes.set_xlabel(across)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw_curves(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    styles = iter(("-", "--", ":", "-.") * len(curves))
    drawn: dict[str, str] = {}
    for label, points in curves.items():
        stage, _, measure = label.partition(" ")
        style = drawn.setdefault(measure, "") or next(styles)
        drawn[measure] = style
        x, y = np.asarray(points, dtype=float).reshape(-1, 2).T
        marker = "o" if len(x) < 30 else None
        axes.plot(x, y, style, color=ORANGE if stage == "train" else BLUE, marker=marker, markersize=2.5,
                  linewidth=1.3, label=_readable(label))  # fmt: skip
    if curves:
        axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")


def _plain(*all_axes: Axes) -> None:
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=INK)


def _readable(name: str) -> str:
    words = name.replace("_", " ").split(" ")
    return " ".join(
        word.upper() if word in {"auc", "f1", "kl", "oa", "qwk", "rps"} else word for word in words
    )


def _knees(count: int) -> str:
    return "1 knee" if count == 1 else f"{count} knees"


def _wilson_arms(share: npt.NDArray[Any], count: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Lengths below and above each share of its 95 % score interval (Wilson 1927)."""
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    arms: npt.NDArray[np.float64] = np.clip(np.stack([share - centre + half, centre + half - share]), 0, None)
    return arms
