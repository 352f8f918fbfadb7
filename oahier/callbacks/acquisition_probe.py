"""Probe of the acquisition: movements of the scores of held-out knees whose scans are changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.files import write_rows
from oahier.callbacks.keys import Stage, stage_directory
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochTable, gathering_of
from oahier.saliency import AcquisitionChange, acquisition_changes, score_shifts
from oahier.saliency.tail import head_to_explain
from oahier.statistics import summarise_values
from oahier.types import StepOutput

_log = logging.getLogger("oahier.acquisition_probe")
USED = 0.1
"""Share of the difference between the halves of the knees from which on a score counts as moved."""


@dataclass(frozen=True)
class Movement:
    """How far the scores of half the knees move with one change of the acquisition."""

    change: str
    half: str
    """``"lower"`` or ``"upper"``, by the score before the change."""
    share: float
    """Of the difference between the mean scores of the halves."""
    low: float
    high: float
    knees: int

    @property
    def counts(self) -> bool:
        """At least :data:`USED`, with an interval that excludes none."""
        return abs(self.share) >= USED and (self.low > 0 or self.high < 0)

    def __str__(self) -> str:
        return f"{self.change} {self.share:+.2f} [{self.low:+.2f}, {self.high:+.2f}] ({self.half} half)"


def movements(score: Tensor, moved: Mapping[str, Tensor], subjects: Sequence[str]) -> list[Movement]:
    """Mean movements with each change, relative to the difference between the two halves of the knees.

    A shortcut that goes with high scores moves the lower half, which lacks it, and hardly the upper one.

    Args:
        score: ``(knees,)`` before any change.
        moved: by change, ``(knees,)`` score after it less before.
        subjects: ``(knees,)``, the units of the intervals.

    Returns:
        Two for each change, the farthest first; none where the scores do not differ.

    >>> score = torch.tensor([0.0, 0.1, 0.2, 3.8, 3.9, 4.0])
    >>> found = movements(score, {"mark": torch.tensor([1.9, 2.0, 1.8, 0.0, 0.1, 0.0])}, list("abcdef"))
    >>> [(one.half, round(one.share, 2), one.counts) for one in found]
    [('lower', 0.5, True), ('upper', 0.01, False)]
    """
    order = score.argsort(stable=True)
    halves = {"lower": order[: len(order) // 2], "upper": order[len(order) // 2 :]}
    if min(map(len, halves.values())) < 1:
        return []
    difference = float(score[halves["upper"]].mean() - score[halves["lower"]].mean())
    if not difference > 1e-6:
        return []
    found = []
    for name, values in moved.items():
        for half, rows in halves.items():
            shares = (values[rows] / difference).double().cpu().numpy()
            of = summarise_values(shares[None], [subjects[row] for row in rows.tolist()])
            found.append(Movement(name, half, of.value, of.ci_low, of.ci_high, len(rows)))
    return sorted(found, key=lambda one: -abs(one.share))


class AcquisitionProbe(StepRecorder):
    """Asks in the test whether the severity depends on the acquisition: on a mark, a gain, a field of view.

    Each held-out knee is scored again after each of 15 changes of its scan
    (:func:`oahier.saliency.acquisition_changes`), one forward pass each. The knees are split at the median
    of their scores, and the mean movement of each half is given as a share of the difference between the
    halves; from a tenth on, with an interval over subjects that excludes zero, the score *depends* on the
    change. On phantoms this names planted marks and fields of view that saliency maps miss; most models
    depended on a gain, with or without a shortcut (docs/concepts/saliency-truth.md).

    Logs ``test/acquisition/largest``, the largest share, and ``changes``, how many the score depends on.
    Writes ``acquisition.csv``: the score of each knee, and by how much each change moves it.

    Args:
        head: whose severity; by default the first with grades, or else the first.
        changes: what is done to the knees; those above when not given.
        name: of what is logged and written.

    Raises:
        ValueError: an unknown head, or two changes of one name.
    """

    def __init__(
        self,
        head: str | None = None,
        *,
        changes: Sequence[AcquisitionChange] | None = None,
        name: str = "acquisition",
    ) -> None:
        super().__init__(name=name, figure_every_n_epochs=0)
        self.head, self.changes = head, acquisition_changes() if changes is None else list(changes)
        names = [change.name for change in self.changes]
        if len(set(names)) < len(names):
            raise ValueError(f"AcquisitionProbe: changes: expected different names, got {sorted(names)}")

    @override
    def collect(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        mri = batch["mri"]
        if not trainer.testing or mri.shape[1] != 1:
            return {}
        model: Any = pl_module
        name = head_to_explain(dict(model.heads.items()), self.head)

        def score(volumes: Tensor) -> Tensor:
            embedding = model.encoder(volumes.to(mri.dtype))
            severity: Tensor = model.heads[name].severity(model.logits_from_embedding(embedding)[name])
            return severity.float()

        with torch.autocast(mri.device.type, enabled=False):
            volumes = mri.to(next(model.encoder.parameters(), mri).dtype)
            return {"score": score(volumes), **score_shifts(score, volumes, self.changes)}

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        table = gathering_of(trainer).table(trainer, self.name, alone=True)
        if len(table) == 0:
            return
        columns = {name: table[name] for name in ("score", *(change.name for change in self.changes))}
        score = columns.pop("score")
        found = movements(score, columns, table.subject)
        if found:
            depends = {one.change for one in found if one.counts}
            values = {"largest": abs(found[0].share), "changes": float(len(depends))}
            self.log_values(pl_module, stage, values)
        if not trainer.is_global_zero:
            return
        values_of = [column.tolist() for column in (score, *columns.values())]
        rows = zip(table.knee, table.subject, *values_of, strict=True)
        path = stage_directory(trainer, stage) / f"{self.name}.csv"
        write_rows(path, ["knee", "subject", "score", *columns], rows)
        self.told = _told(found, len(self.changes))
        _log.info("%s. How far to believe it: docs/concepts/saliency-truth.md", self.told)


def _told(found: Sequence[Movement], changes: int) -> str:
    """The movements in a sentence, the halves of one change by the one that moves farther."""
    if not found:
        return "acquisition: the scores do not differ, so nothing is known of what moves them"
    farthest = {one.change: one for one in reversed([one for one in found if one.counts])}
    if not farthest:
        return f"acquisition: the score depends on none of {changes} changes (largest movement: {found[0]})"
    named = sorted(farthest.values(), key=lambda one: -abs(one.share))
    return f"acquisition: the score depends on {'; '.join(map(str, named))}"
