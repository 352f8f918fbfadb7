"""One head's predictions of an epoch, and everything that is computed or drawn of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import lightning as L
import numpy as np
from torch import Tensor

from oahier.callbacks.figures import confusion_picture, reliability_picture
from oahier.callbacks.keys import Stage
from oahier.gathering import EpochTable
from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE, Hierarchy, head_label
from oahier.metrics import LevelRows, Metric, Rows, evaluate, reliability
from oahier.statistics import summarise_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


@dataclass(frozen=True)
class HeadTable:
    """What a head said about each knee of an epoch."""

    name: str
    target: str
    """The target column that it predicts."""
    subject: list[str]
    probabilities: Tensor
    """``(knees, classes)``."""
    severity: Tensor
    labels: Tensor
    """``(knees,)``, ``MISSING`` where unknown."""
    predicted: Tensor | None = None
    """``(knees,)`` decisions, where they are not those of :func:`oahier.metrics.decisions`."""
    hierarchy: Hierarchy = DEFAULT_HIERARCHY
    class_names: tuple[str, ...] = ()
    """Empty where the target and a number name them."""

    @cached_property
    def rows(self) -> Rows:
        """The labelled knees.

        Raises:
            ValueError: labels or probabilities that are none; the message names the head.
        """
        try:
            return Rows.of(
                self.probabilities, self.labels, severity=self.severity, predicted=self.predicted,
                subject=self.subject,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"head {self.name!r}: {error}") from None

    @property
    def coarser(self) -> tuple[str, ...]:
        """Levels that follow from the classes of this head."""
        levels = self.hierarchy.levels
        if not self.hierarchy.is_level(self.target, self.rows.classes):
            return ()
        return levels[levels.index(self.target) + 1 :]

    @cached_property
    def implied(self) -> dict[str, Rows]:
        """The coarser levels as this one implies them."""
        return {level: self._implied(level) for level in self.coarser}

    def _implied(self, level: str) -> Rows:
        p = self.hierarchy.marginal(self.probabilities.double(), self.target, level)
        labels = self.hierarchy.coarsen(self.labels, self.target, level)
        return Rows.of(p[:, 1] if p.shape[1] == 2 else p, labels, subject=self.subject)

    def metrics(self, chosen: Sequence[Metric]) -> dict[str, float]:
        """The value of every metric of the head, and the number of labelled knees."""
        values = evaluate(self.rows, chosen)
        for level, rows in self.implied.items():
            values |= _prefixed(level, evaluate(rows, chosen))
        return values | {"knees": float(len(self.rows))}

    def intervals(self, chosen: Sequence[Metric]) -> dict[str, tuple[float, float]]:
        """95 % intervals of the headline metrics; none with one subject."""
        values = _intervals(self.rows, chosen)
        for level, rows in self.implied.items():
            values |= _prefixed(level, _intervals(rows, chosen))
        return values

    def describe(self) -> str:
        """How many knees have which label, or that the model diverged."""
        if not np.isfinite(self.rows.probabilities).all():
            return "some probabilities are not finite (did training diverge?)"
        counts = np.bincount(self.rows.labels, minlength=self.rows.classes).tolist()
        shares = ", ".join(f"{name} {count}" for name, count in zip(self._class_names(), counts, strict=True))
        return f"{len(self.rows)} labelled knees: {shares}"

    def pictures(self, stage: Stage) -> dict[str, Figure]:
        """Confusion matrix and reliability curve; none without labelled knees or after divergence."""
        known = self.probabilities.isfinite().all(dim=1)
        predicted = None if self.predicted is None else self.predicted[known]
        rows = Rows.of(self.probabilities[known], self.labels[known], predicted=predicted)
        if not len(rows):
            return {}
        split = {"val": "validation"}.get(stage, stage)
        title = f"{self._title()}, {split} split"
        names = self._class_names()
        note = "brier" if rows.binary else "ece"
        value = evaluate(self.rows)[note]
        if rows.binary:
            note = f"Brier score {value:.3f}"
            labels = (f"predicted P({names[1]})", f"share with {names[1]}")
        else:
            note = f"expected calibration error {value:.3f}"
            labels = ("probability of the predicted grade", "share predicted right")
        boundary = self.hierarchy.threshold(self.target, self.coarser[-1]) if self.coarser else None
        return {
            "confusion_matrix": confusion_picture(rows.confusion.sample, names, title, boundary),
            "reliability": reliability_picture(reliability(rows), title, labels, note),
        }

    def _class_names(self) -> list[str]:
        if self.class_names:
            return list(self.class_names)
        label = head_label(self.target)
        if self.target == COARSE and self.rows.binary:
            return [f"no {label}", label]
        return [f"{label} {grade}" for grade in range(self.rows.classes)]

    def _title(self) -> str:
        label = f"{head_label(FINE)} grade" if self.target == FINE else head_label(self.target)
        return label if self.name == self.target else f"{label} (head {self.name})"


def head_tables(pl_module: L.LightningModule, table: EpochTable) -> list[HeadTable]:
    """The heads of an epoch's table, in the order of the model."""
    suffix = "/probabilities"
    names = [column.removesuffix(suffix) for column in table if column.endswith(suffix)]
    return [
        HeadTable(
            name=name,
            target=target_of(pl_module, name),
            subject=table.subject,
            probabilities=table[f"{name}/probabilities"],
            severity=table[f"{name}/severity"],
            labels=table[f"{name}/labels"],
            predicted=table.columns.get(f"{name}/predicted"),
            hierarchy=getattr(pl_module, "hierarchy", DEFAULT_HIERARCHY),
            class_names=_names_of(pl_module, name),
        )
        for name in names
    ]


def _names_of(pl_module: L.LightningModule, head: str) -> tuple[str, ...]:
    heads: Any = getattr(pl_module, "heads", {})
    return getattr(heads[head], "class_names", ()) if head in heads else ()


def target_of(pl_module: L.LightningModule, head: str) -> str:
    """The target column of a head: what the model says, else the head's own name."""
    ask = getattr(pl_module, "target_of", None)
    return str(ask(head)) if callable(ask) else head


def hierarchy_groups(heads: list[HeadTable], chosen: Iterable[Metric]) -> dict[str, dict[str, float]]:
    """Agreement of each coarse head with each fine one, in a group ``hierarchy`` if there is one pair only.

    Raises:
        ValueError: a head has the name of such a group.
    """
    pairs = [(coarse, fine) for coarse in heads for fine in heads if _is_above(coarse, fine)]
    names = ["hierarchy"] if len(pairs) == 1 else [f"hierarchy_{a.name}_{b.name}" for a, b in pairs]
    taken = [name for name in names if name in {head.name for head in heads}]
    if taken:
        raise ValueError(
            f"head {taken[0]!r}: the agreement of the levels is logged under this name; rename the head"
        )
    fitting = [metric for metric in chosen if metric.kind == "hierarchy"]
    groups = {}
    for name, (one, other) in zip(names, pairs, strict=True):
        coarse = one.probabilities.double().numpy()
        rows = LevelRows(
            coarse[:, 1] if one.rows.binary else coarse,
            other.probabilities.double().numpy(),
            other.hierarchy.parents(other.target, one.target),
        )
        groups[name] = {metric.name: metric.value(rows) for metric in fitting}
    return groups


def _is_above(coarse: HeadTable, fine: HeadTable) -> bool:
    return coarse.target in fine.coarser and fine.hierarchy.is_level(coarse.target, coarse.rows.classes)


def _intervals(rows: Rows, chosen: Sequence[Metric]) -> dict[str, tuple[float, float]]:
    headline = [metric for metric in chosen if metric.headline] if rows.defined else []
    found = summarise_rows([rows], headline)
    return {row.metric: (row.ci_low, row.ci_high) for row in found}


def _prefixed(level: str, values: Mapping[str, T]) -> dict[str, T]:
    return {f"{level}_{name}": value for name, value in values.items()}
