"""Figures of the severity axis and of the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.hierarchy import FINE
from oahier.pages.charts import DOTS_PER_INCH, GREY, INK
from oahier.types import KL_GRADES, MISSING

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KL_COLOURS = ("#0d0887", "#7e03a8", "#cc4778", "#f07f4f", "#f5b40e")
"""One colour a grade, from dark to light, the same in every figure; unknown grades are grey."""

_LETTERS = 118
"""Letters of the summary in a line."""


def axis_figure(
    plane: npt.NDArray[Any], kl: npt.NDArray[Any], title: str, metrics: Mapping[str, float]
) -> Figure:
    """Held-out knees along the axis, a row a grade, and in the plane with the second component.

    Args:
        plane: ``(2, knees)`` coordinates along the axis and along the second component.
        kl: ``(knees,)`` grades, ``MISSING`` where unknown.
        title: heading; the number of knees is added.
        metrics: from :func:`oahier.latent.axis_measures`; some are printed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.4), dpi=DOTS_PER_INCH, facecolor="white")
    figure.subplots_adjust(left=0.095, right=0.985, top=0.78, bottom=0.12, wspace=0.17)
    rows, scatter = figure.subplots(1, 2, sharex=True)
    present = [grade for grade in (MISSING, *range(KL_GRADES)) if (kl == grade).any()]
    draw_rows(rows, plane[0], kl, present)
    draw_plane(scatter, plane, kl, present)
    for axes in (rows, scatter):
        axes.set_xlabel("coordinate along the axis (severity increases to the right)", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9, colors=INK)
        axes.margins(x=0.06)
    figure.suptitle(f"{title}, {len(kl)} knees", fontsize=10, y=0.98)
    figure.text(0.5, 0.925, _summary(metrics), fontsize=8.5, ha="center", va="top", color=INK)
    return figure


def embedding_figure(points: npt.NDArray[Any], grades: npt.NDArray[Any], title: str) -> Figure:
    """Knees in two coordinates that have no meaning of their own, coloured by grade.

    Args:
        points: ``(knees, 2)``.
        grades: ``(knees,)``, ``MISSING`` where unknown.
        title: heading; the number of knees is added.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.6), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for grade in (MISSING, *range(KL_GRADES)):
        shown = points[grades == grade]
        if len(shown):
            colour, label = _colour(grade), _name(grade)
            axes.scatter(shown[:, 0], shown[:, 1], s=15, color=colour, alpha=0.75, linewidths=0, label=label)
    axes.set(xticks=[], yticks=[], xlabel="distances between far points mean nothing")
    axes.spines[:].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title(f"{title}, {len(points)} knees", fontsize=10, color=INK)
    return figure


def draw_rows(axes: Axes, along: npt.NDArray[Any], kl: npt.NDArray[Any], present: list[int]) -> None:
    """Knees along the axis, a row a grade of ``present``, with the mean of each."""
    means = []
    for row, grade in enumerate(present):
        values = np.sort(along[kl == grade])
        colour = _colour(grade)
        if len(values) >= 5 and np.ptp(values) > 0:
            body = axes.violinplot(values, [row], orientation="horizontal", widths=0.85, showextrema=False)
            for shape in body["bodies"]:  # type: ignore[attr-defined]  # the stub has a single artist
                shape.set(facecolor=colour, alpha=0.18, edgecolor="none")
        spread = 0.42 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)
        axes.scatter(values, row + spread, s=13, color=colour, alpha=0.75, linewidths=0)
        means.append(values.mean())
    graded = [index for index, grade in enumerate(present) if grade != MISSING]
    axes.plot(
        [means[index] for index in graded], graded, color=INK, marker="D", markersize=5.5, linewidth=1.1,
        markerfacecolor="white", label="mean of the grade", zorder=4,
    )  # fmt: skip
    names = [f"{_name(grade)}\n(n={int((kl == grade).sum())})" for grade in present]
    axes.set_yticks(range(len(present)), names)
    axes.set_ylim(-0.6, len(present) - 0.4)
    if graded:
        axes.legend(fontsize=8, frameon=False, loc="lower right")


def draw_plane(axes: Axes, plane: npt.NDArray[Any], kl: npt.NDArray[Any], present: list[int]) -> None:
    """Knees in the plane of the axis and the second component, with the centre of each grade."""
    for grade in present:
        points = plane[:, kl == grade]
        axes.scatter(
            points[0], points[1], s=15, color=_colour(grade), alpha=0.75, linewidths=0, label=_name(grade)
        )
    graded = [grade for grade in present if grade != MISSING]
    centres = np.array([plane[:, kl == grade].mean(axis=1) for grade in graded]).reshape(-1, 2)
    axes.plot(centres[:, 0], centres[:, 1], color=INK, linewidth=1.1, zorder=3)
    axes.scatter(
        centres[:, 0], centres[:, 1], c=[_colour(grade) for grade in graded], s=48, marker="D",
        edgecolors=INK, linewidths=1.1, zorder=4,
    )  # fmt: skip
    axes.set_ylabel("second component", fontsize=9)
    axes.legend(fontsize=8, framealpha=0.75, edgecolor="none", handletextpad=0.2, borderaxespad=0.1)


def _summary(metrics: Mapping[str, float]) -> str:
    """Metrics with their chance levels, in lines that fit the figure."""
    parts = {
        "|Spearman| with KL": "spearman_kl",
        "AUC of the OA probe": "probe_auc",
        "d' of neighbours": "separation",
        "straightness": "straightness_unbiased",
        "variance explained": "explained_variance",
    }
    inside = f"_in_{FINE}"  # the mean over grades, of each covariate
    parts |= {
        f"Spearman with {name.removesuffix(inside).replace('_', ' ')} inside grades": name
        for name in metrics
        if name.endswith(inside)
    }
    known = {label: name for label, name in parts.items() if np.isfinite(metrics.get(name, np.nan))}
    chance = {name: metrics.get(f"{name}_chance", np.nan) for name in known.values()}
    said = [
        f"{label} {metrics[name]:.2f}"
        + (f" (chance {chance[name]:.2f})" if np.isfinite(chance[name]) else "")
        for label, name in known.items()
    ]
    if np.isfinite(metrics.get("discernible", np.nan)):
        low, high = metrics["discernible_low"], metrics["discernible_high"]
        said.append(f"grades told apart {metrics['discernible']:.1f} [{low:.1f}, {high:.1f}]")
    lines = [""]
    for part in said:
        fits = len(lines[-1]) + len(part) <= _LETTERS
        lines[-1:] = [f"{lines[-1]}   {part}".strip()] if fits else [lines[-1], part]
    return "\n".join(lines)


def _colour(grade: int) -> str:
    return GREY if grade == MISSING else KL_COLOURS[grade]


def _name(grade: int) -> str:
    return "no grade" if grade == MISSING else f"KL {grade}"
