"""What the metric and file callbacks share: one table of the knees at the end of an evaluation epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast

import lightning as L
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.keys import Stage, require_one_dataloader, stage_of
from oahier.callbacks.records import EpochRecords, EpochTable
from oahier.types import StepOutput


class StepRecorder(L.Callback, ABC):
    """Collects from each validation, test and prediction step; hands over one table an epoch.

    A subclass says what to keep of a step in :meth:`collect` and what to do with the whole epoch in
    :meth:`finish`. The sanity check before training is left out. Training steps are not collected.
    """

    def __init__(self) -> None:
        super().__init__()
        self._records = EpochRecords()

    @abstractmethod
    def collect(self, output: StepOutput) -> Mapping[str, Tensor]:
        """Columns, one row a knee, to keep of a step."""

    @abstractmethod
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        """Use the epoch's table, which is the same on every process; called on every process."""

    def _start(self, trainer: L.Trainer) -> None:
        self._records.clear()
        if not trainer.sanity_checking:
            require_one_dataloader(trainer, self)

    def _add(self, trainer: L.Trainer, outputs: Any) -> None:
        if not trainer.sanity_checking:
            output = self._check(outputs)
            self._records.add(knee=output["knee"], subject=output["subject"], **self.collect(output))

    def _finish(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            table = self._records.gather(trainer)
            self._records.clear()
            self.finish(trainer, pl_module, stage_of(trainer), table)

    def _check(self, outputs: Any) -> StepOutput:
        missing = (
            sorted(StepOutput.__required_keys__ - set(outputs)) if isinstance(outputs, Mapping) else None
        )
        if missing is None or missing:
            got = type(outputs).__name__ if missing is None else f"one without {missing}"
            raise TypeError(
                f"{type(self).__name__}: expected the steps to return an oahier.types.StepOutput, got {got}"
            )
        return cast("StepOutput", outputs)

    @override
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start(trainer)

    @override
    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start(trainer)

    @override
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(trainer, outputs)

    @override
    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(trainer, outputs)

    @override
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._finish(trainer, pl_module)

    @override
    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._finish(trainer, pl_module)

    @override
    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start(trainer)

    @override
    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(trainer, outputs)

    @override
    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._finish(trainer, pl_module)
