"""Calibration and decision thresholds, fitted on each epoch's validation knees and kept in its checkpoint."""

from __future__ import annotations

import logging
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.head_predictions import head_tables
from oahier.callbacks.keys import Stage
from oahier.callbacks.step_recorder import StepRecorder
from oahier.clinical import Calibrator, Decisions, ThresholdRule
from oahier.gathering import EpochTable, gathering_of

_log = logging.getLogger(__name__)


class DecisionCalibration(StepRecorder):
    """Fits calibration and threshold of every head on the validation knees, and tests with them.

    An epoch that is chosen by a ranking, such as AUC, can have most probabilities on the wrong side of 0.5.
    This fits a calibrator (all heads) and a decision threshold (heads of two classes) to the
    validation predictions of each epoch of training. Both lie in the checkpoint of that epoch. In test and
    prediction every metric, table and figure then has the calibrated probabilities, the decisions by the
    threshold and, of grades, the expected grade; losses stay those of the model. Weights are never changed.
    Validation values are those of the model itself, because they would be of the knees that were fitted.

    ``oahier predict`` applies what a checkpoint holds to new scans, as its test does.

    Args:
        calibrator: kind of calibration; :class:`~oahier.clinical.Temperature` when not given.
        threshold: rule for the threshold; :class:`~oahier.clinical.Youden` when not given.
        apply: use them in test, prediction and ``oahier predict``; False keeps them in the checkpoint only.

    Raises:
        ValueError: in a test or prediction, subjects that they were fitted on.
    """

    def __init__(
        self,
        calibrator: Calibrator | None = None,
        threshold: ThresholdRule | None = None,
        *,
        apply: bool = True,
    ) -> None:
        super().__init__()
        self.calibrator, self.threshold, self.apply = calibrator, threshold, apply
        self.decisions: Decisions | None = None

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        if stage == "val" and trainer.state.fn == TrainerFn.FITTING:
            heads = {head.name: head.rows for head in head_tables(pl_module, table)}
            self.decisions = Decisions.fit(heads, calibrator=self.calibrator, threshold=self.threshold)

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        gathering_of(trainer).calibrated = None

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.apply and self.decisions is None:
            _log.warning(
                "DecisionCalibration: the weights have no fitted decisions, so probabilities and 0.5 stay; "
                "train with this callback and test its checkpoint"
            )
        applied = _Applied(self.decisions) if self.apply and self.decisions else None
        gathering_of(trainer).calibrated = applied

    on_predict_start = on_test_start

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self.decisions is None else {"decisions": self.decisions.to_dict(), "apply": self.apply}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        kept = state_dict.get("decisions")
        self.decisions = None if kept is None else Decisions.from_dict(kept, "checkpoint")


class _Applied:
    """The table of an epoch with decisions applied."""

    def __init__(self, decisions: Decisions) -> None:
        self.decisions, self.decided = decisions, decisions.describe()

    def __call__(self, table: EpochTable) -> EpochTable:
        self.decisions.refuse(table.subject, "test split")
        columns = dict(table.columns)
        for name, head in self.decisions.heads.items():
            if f"{name}/probabilities" in columns:
                p, predicted = head.apply(columns[f"{name}/probabilities"].double().numpy())
                columns[f"{name}/probabilities"] = torch.from_numpy(p)
                columns[f"{name}/predicted"] = torch.from_numpy(predicted)
                columns[f"{name}/severity"] = torch.from_numpy(p @ np.arange(p.shape[1]))
        return EpochTable(table.knee, table.subject, columns)
