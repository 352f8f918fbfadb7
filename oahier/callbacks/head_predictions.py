"""One head's predictions of an epoch, and everything that is measured or drawn of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import lightning as L
import torch
from torch import Tensor

from oahier.callbacks.figures import confusion_picture, reliability_picture
from oahier.callbacks.keys import Stage
from oahier.gathering import EpochTable
from oahier.hierarchy import OA_FROM_GRADE, oa_from_kl, oa_probability_from_kl
from oahier.metrics import (
    binary_metrics,
    confusion_matrix,
    hierarchy_metrics,
    ordinal_metrics,
    reliability,
)
from oahier.statistics.headline import binary_intervals, ordinal_intervals
from oahier.statistics.intervals import Interval
from oahier.types import KL_GRADES, MISSING

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

    @property
    def num_classes(self) -> int:
        return self.probabilities.shape[1]

    @property
    def binary(self) -> bool:
        return self.num_classes == 2

    @property
    def grades_kl(self) -> bool:
        """True if the classes are the five KL grades, from which OA follows."""
        return self.target == "kl" and self.num_classes == KL_GRADES

    def measures(self) -> dict[str, float]:
        """Every measure of the head, and the number of labelled knees."""
        knees = {"knees": float((self.labels != MISSING).sum())}
        if self.binary:
            return binary_metrics(self.probabilities[:, 1], self.labels) | knees
        values = ordinal_metrics(self.probabilities, self.labels, self.severity)
        if self.grades_kl:
            implied = oa_probability_from_kl(self.probabilities.double())
            values |= _as_oa(binary_metrics(implied, oa_from_kl(self.labels)))
        return values | knees

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals of the headline measures; none where there is nothing to resample."""
        labelled = self.labels != MISSING
        p, y = self.probabilities[labelled].double(), self.labels[labelled]
        if len(y) == 0 or not bool(p.isfinite().all()):
            return {}
        subject = [name for name, known in zip(self.subject, labelled.tolist(), strict=True) if known]
        if self.binary:
            return binary_intervals(subject, p[:, 1].numpy(), y.numpy())
        values = ordinal_intervals(subject, p.numpy(), y.numpy())
        if self.grades_kl:
            implied = oa_probability_from_kl(p).numpy()
            return values | _as_oa(binary_intervals(subject, implied, oa_from_kl(y).numpy()))
        values.pop("severe_auc", None)
        return values

    def describe(self) -> str:
        """How many knees have which label, or that the model diverged."""
        labels = self.labels[self.labels != MISSING]
        if not bool(self.probabilities.isfinite().all()):
            return "some probabilities are not finite (did training diverge?)"
        counts = torch.bincount(labels, minlength=self.num_classes).tolist()
        shares = ", ".join(f"{name} {count}" for name, count in zip(self._class_names(), counts, strict=True))
        return f"{len(labels)} labelled knees: {shares}"

    def pictures(self, stage: Stage) -> dict[str, Figure]:
        """Confusion matrix and reliability curve; none without labelled knees or after divergence."""
        labelled = (self.labels != MISSING) & self.probabilities.isfinite().all(dim=1)
        p, y = self.probabilities[labelled], self.labels[labelled]
        if len(y) == 0:
            return {}
        split = {"val": "validation"}.get(stage, stage)
        title = f"{self._title()}, {split} split"
        predicted = (p[:, 1] >= 0.5).long() if self.binary else p.argmax(dim=1)
        counts = confusion_matrix(predicted, y, self.num_classes)
        boundary = OA_FROM_GRADE if self.grades_kl else None
        measures = self.measures()
        if self.binary:
            curve, note = reliability(p[:, 1], y), f"Brier score {measures['brier']:.3f}"
            labels = (f"predicted P({self._class_names()[1]})", f"share with {self._class_names()[1]}")
        else:
            curve = reliability(p.amax(dim=1), (predicted == y).long())
            note = f"expected calibration error {measures['ece']:.3f}"
            labels = ("probability of the predicted grade", "share predicted right")
        return {
            "confusion_matrix": confusion_picture(counts.numpy(), self._class_names(), title, boundary),
            "reliability": reliability_picture(curve, title, labels, note),
        }

    def _class_names(self) -> list[str]:
        if self.target == "oa" and self.binary:
            return ["no OA", "OA"]
        prefix = "KL" if self.target == "kl" else self.target
        return [f"{prefix} {grade}" for grade in range(self.num_classes)]

    def _title(self) -> str:
        known = {"oa": "OA", "kl": "KL grade"}.get(self.target, self.target)
        return known if self.name == self.target else f"{known} (head {self.name})"


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
            labels=table[f"{name}/labels"].long(),
        )
        for name in names
    ]


def target_of(pl_module: L.LightningModule, head: str) -> str:
    """The target column of a head: what the model says, else the head's own name."""
    ask = getattr(pl_module, "target_of", None)
    return str(ask(head)) if callable(ask) else head


def hierarchy_measures(heads: list[HeadTable]) -> dict[str, dict[str, float]]:
    """Agreement of each OA head with each KL head, in a group ``hierarchy`` if there is one pair only."""
    pairs = list(
        product(
            (head for head in heads if head.target == "oa" and head.binary),
            (head for head in heads if head.grades_kl),
        )
    )
    names = ["hierarchy"] if len(pairs) == 1 else [f"hierarchy_{oa.name}_{kl.name}" for oa, kl in pairs]
    return {
        name: hierarchy_metrics(oa.probabilities[:, 1], kl.probabilities)
        for name, (oa, kl) in zip(names, pairs, strict=True)
    }


def _as_oa(values: Mapping[str, T]) -> dict[str, T]:
    return {f"oa_{name}": value for name, value in values.items()}
