"""Trajectories of a score over the months, by the grade at the first visit."""

from __future__ import annotations

import numpy as np

from oahier.metrics.weighted import Floats
from oahier.pages.charts import GREY, INK, Panel, Sheet
from oahier.pages.layout import LETTERS, plain, sheet
from oahier.pages.text import count
from oahier.visits import Visits

ROSE = "#d6604d"
MOST = 150
"""Knees that are drawn in a panel."""


def trajectories(visits: Visits, score: Floats, grade: Floats, name: str, rise: int | float = 1) -> Sheet:
    """A panel for each grade at the first visit, a line a knee, coloured where the grade rises later.

    Args:
        visits: of the rows.
        score: ``(rows,)``, NaN where unknown.
        grade: ``(rows,)``, NaN where unknown.
        name: of the grade.
        rise: of the grade that is coloured.
    """
    from matplotlib.collections import LineCollection

    groups: dict[float, list[tuple[Floats, Floats, bool]]] = {}
    for rows in visits.courses():
        known = rows[np.isfinite(score[rows])]
        if len(known) > 1 and np.isfinite(grade[known[0]]):
            rose = bool(np.nanmax(grade[known]) >= grade[known[0]] + rise - 1e-9)
            line = (visits.month[known] - visits.month[known[0]], score[known], rose)
            groups.setdefault(float(grade[known[0]]), []).append(line)
    drawn = [values for lines in groups.values() for _, values, _ in lines]
    low, high = (float(end) for end in np.quantile(np.concatenate(drawn or [np.array([0.0, 1.0])]), (0, 1)))
    margin = 0.04 * (high - low) or 1.0
    made, (grid,) = sheet([(max(len(groups), 1), 2.4)], 2.9)
    for (level, lines), axes in zip(sorted(groups.items()), grid, strict=False):
        title = f"{name} {level:g} at the first visit"
        plain(axes, title, across="months")
        axes.set_ylabel("score", fontsize=LETTERS, color=INK)
        axes.set_ylim(low - margin, high + margin)
        order = np.random.default_rng(0).permutation(len(lines))[:MOST]
        for side, colour in ((False, GREY), (True, ROSE)):
            some = [np.column_stack(lines[at][:2]) for at in order.tolist() if lines[at][2] == side]
            axes.add_collection(LineCollection(some, colors=colour, linewidths=0.7, alpha=0.6))
        months, values = (np.concatenate([line[part] for line in lines]) for part in (0, 1))
        at = np.unique(months)
        axes.plot(at, [values[months == month].mean() for month in at], color=INK, linewidth=2)
        rising = sum(line[2] for line in lines)
        told = f"{count(len(lines), 'knee')}, the grade rises in {rising}"
        made.panels.append(Panel(axes, title, f"Trajectories, {title}: {told}", told))
    return made
