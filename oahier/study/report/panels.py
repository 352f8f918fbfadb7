"""Data of the figures of predictions, seeds and saliency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.heads.change import names_of_changes
from oahier.hierarchy import DEFAULT_HIERARCHY, head_label
from oahier.metrics import Rows, reliability
from oahier.pages.text import as_float
from oahier.statistics import Predictions
from oahier.study.cell_files import read_predictions
from oahier.study.report.contents import Contents
from oahier.study.report.names import Style, arrow, method_name


@dataclass(frozen=True)
class SpreadRow:
    """The seeds of one condition."""

    condition: str
    style: Style
    seeds: Sequence[str]
    values: Sequence[float]
    mean: float
    low: float
    high: float
    probe: bool


@dataclass(frozen=True)
class SpreadPanel:
    """One metric: every seed of every condition, with the mean and its interval."""

    task: str
    metric: str
    rows: Sequence[SpreadRow]

    @property
    def title(self) -> str:
        """Task and metric."""
        return f"{self.task}: {arrow(self.metric)}"


def spread_panels(contents: Contents) -> list[SpreadPanel]:
    """Panels of every metric in the headline table."""
    headline, cells = contents.tables.get("headline"), contents.tables.get("cells")
    if headline is None:
        return []
    axes = contents.study.condition_axes
    headline = contents.ordered(headline, axes)
    panels = []
    for (task, metric), part in headline.groupby(["task", "metric"], sort=False):
        rows = []
        for line in part.to_dict("records"):
            factors = {str(key): value for key, value in line.items()}
            seeds: dict[str, float] = {}
            if cells is not None:
                same = (cells["task"] == task) & (cells["metric"] == metric)
                for axis in axes:
                    same &= cells[axis] == line[axis]
                replicate = cells.get(contents.study.replicate, cells["cell"])
                seeds = dict(zip(replicate[same].astype(str), cells["value"][same], strict=True))
            rows.append(
                SpreadRow(
                    contents.condition(factors), contents.style(factors), list(seeds), list(seeds.values()),
                    float(line["value"]), float(line["ci_low"]), float(line["ci_high"]), truth(line["probe"]),
                )
            )  # fmt: skip
        panels.append(SpreadPanel(str(task), str(metric), rows))
    return panels


def truth(value: Any) -> bool:
    """A truth value of a table, where it may be text or missing.

    >>> truth("True"), truth(float("nan")), truth(np.False_)
    (True, False, False)
    """
    return str(value).lower() in ("true", "1", "1.0")


@dataclass(frozen=True)
class PredictionPanel:
    """Predictions of one condition, all seeds together.

    Args:
        group: levels that are not contrasted.
        contrast: the contrasted level.
        condition: both.
        style: how it is drawn.
        cells: number of cells pooled.
        classes: by task, names of the classes.
        confusion: by task, counts ``(true, predicted)``.
        curves: by task, mean probability, observed share and number of each filled bin.
        probes: tasks whose head does not back-propagate into the encoder.
    """

    group: str
    contrast: str
    condition: str
    style: Style
    cells: int
    classes: Mapping[str, tuple[str, ...]]
    confusion: Mapping[str, npt.NDArray[np.int64]]
    curves: Mapping[str, npt.NDArray[np.float64]]
    probes: frozenset[str]

    def marked(self, task: str) -> str:
        """The condition, with a dagger where the task is read out by a probe."""
        return self.condition + "†" * (task in self.probes)


def classes_of(panels: Sequence[PredictionPanel]) -> dict[str, tuple[str, ...]]:
    """Names of the classes of every task that is shown, the finest level first."""
    found = {task: names for panel in panels for task, names in panel.classes.items()}
    first = [head_label(level) for level in DEFAULT_HIERARCHY.levels]
    return {task: found[task] for task in dict.fromkeys([*first, *found]) if task in found}


def prediction_panels(contents: Contents) -> list[PredictionPanel]:
    """Confusion and reliability of every condition with predictions, pooled over its seeds."""
    panels = []
    probes = contents.probes()
    for cells in contents.study.conditions().values():
        tables = [read_predictions(cell.folder) for cell in cells if cell.state == "finished"]
        found = [table for table in tables if table is not None]
        if not found:
            continue
        factors, of_change = cells[0].factors, cells[0].compares_visits
        name = contents.condition(factors)
        pooled = {head_label(head): _pooled(found, head) for head in found[0].heads}
        shown = {task: rows for task, rows in pooled.items() if len(rows)}
        panels.append(
            PredictionPanel(
                contents.group(factors), contents.contrast(factors), name, contents.style(factors),
                len(found),
                {task: class_names(task, rows.classes, of_change=of_change) for task, rows in shown.items()},
                {task: rows.confusion.sample for task, rows in shown.items()},
                {task: _curve(rows) for task, rows in shown.items()},
                frozenset(task for task in shown if (name, task) in probes),
            )
        )  # fmt: skip
    return panels


def class_names(task: str, classes: int, *, of_change: bool = False) -> tuple[str, ...]:
    """Names of the classes of a task.

    >>> class_names("OA", 2), class_names("jsn", 3)
    (('no OA', 'OA'), ('0', '1', '2'))
    >>> class_names("change", 3, of_change=True)
    ('better', 'same', 'worse')
    """
    names = names_of_changes(classes) if of_change else ()
    if names:
        return names
    return (f"no {task}", task) if classes == 2 else tuple(map(str, range(classes)))


def _pooled(tables: Sequence[Predictions], head: str) -> Rows:
    """Labelled knees of all seeds, without those whose probabilities are not finite."""
    with_head = [table for table in tables if head in table.heads]
    p = np.concatenate([table.heads[head].probabilities for table in with_head])
    labels = np.concatenate([table.labels[head] for table in with_head])
    told = np.isfinite(p).all(axis=1)
    return Rows.of(p[told], labels[told])


def _curve(rows: Rows) -> npt.NDArray[np.float64]:
    curve = reliability(rows)
    values = np.stack([curve.confidence, curve.frequency, curve.count])
    return values[:, curve.count > 0].astype(np.float64)


@dataclass(frozen=True)
class SaliencyRow:
    """An overlap metric of one condition with its controls; NaN where there is none."""

    condition: str
    style: Style
    value: float
    low: float
    high: float
    chance: float
    other: float
    randomised: float
    image: float


@dataclass(frozen=True)
class SaliencyPanel:
    """One saliency method over all conditions."""

    title: str
    rows: Sequence[SaliencyRow]


def saliency_panels(contents: Contents) -> list[SaliencyPanel]:
    """Enrichment beside chance, other knees' cartilage, random weights and the image, by method."""
    table = contents.tables.get("saliency")
    if table is None:
        return []
    table = contents.ordered(table[table["measure"] == "enrichment"], contents.study.condition_axes)
    panels = []
    for method, part in table.groupby("method", sort=False):
        rows = [
            SaliencyRow(
                contents.condition(line), contents.style(line),
                *(as_float(line.get(key)) for key in (
                    "value", "ci_low", "ci_high", "chance", "other_cartilage", "randomised", "image",
                )),
            )
            for line in part.to_dict("records")
        ]  # fmt: skip
        panels.append(SaliencyPanel(method_name(str(method)), rows))
    return panels
