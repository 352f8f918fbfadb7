"""A step recorder whose rows need the batch and the model too, in every kind of evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.keys import Stage, metric_key
from oahier.callbacks.step_recorder import StepRecorder
from oahier.types import MISSING, StepOutput


class BatchRecorder(StepRecorder):
    """Records validation, test and prediction batches; a subclass defines :meth:`record`.

    Args:
        picture_every_n_epochs: during training, draw in every n-th epoch and at the end; 0 draws none. Test
            and prediction pictures are always drawn.

    Raises:
        ValueError: ``picture_every_n_epochs`` is negative.
    """

    def __init__(self, picture_every_n_epochs: int) -> None:
        super().__init__()
        if picture_every_n_epochs < 0:
            raise ValueError(
                f"{type(self).__name__}: picture_every_n_epochs must be 0 or more, "
                f"got {picture_every_n_epochs}"
            )
        self.picture_every_n_epochs = picture_every_n_epochs
        self._waiting: Callable[[], None] | None = None

    @abstractmethod
    def record(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> None:
        """Add the rows of a batch to the records."""

    @override
    def collect(self, output: StepOutput) -> Mapping[str, Tensor]:
        raise NotImplementedError("a BatchRecorder adds its rows in record()")

    def _draw(self, trainer: L.Trainer, draw: Callable[[], None]) -> None:
        """Draw now if this epoch has pictures; what was not drawn is drawn when training ends."""
        every = self.picture_every_n_epochs
        if trainer.state.fn != TrainerFn.FITTING or (every > 0 and trainer.current_epoch % every == 0):
            self._waiting = None
            draw()
        elif every > 0:
            self._waiting = draw

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._waiting is not None:
            self._waiting()
        self._waiting = None

    def _record(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Mapping[str, Any]
    ) -> None:
        if not trainer.sanity_checking:
            self.record(trainer, pl_module, self._check(outputs), batch)

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
        self._record(trainer, pl_module, outputs, batch)

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
        self._record(trainer, pl_module, outputs, batch)

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
        self._record(trainer, pl_module, outputs, batch)

    @override
    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start(trainer)

    @override
    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._finish(trainer, pl_module)


def log_group(pl_module: L.LightningModule, stage: Stage, group: str, values: Mapping[str, float]) -> None:
    """Log values of an epoch that are equal on every process; prediction logs nothing."""
    if stage != "predict":
        logged = {metric_key(stage, group, name): float(value) for name, value in values.items()}
        pl_module.log_dict(logged, sync_dist=pl_module.trainer.world_size > 1, batch_size=1)


def labels_of(batch: Mapping[str, Any], column: str) -> Tensor:
    """Labels of a target column, ``MISSING`` where the batch has none; ``(batch,)`` int64."""
    targets = batch.get("targets") or {}
    if column in targets:
        labels: Tensor = targets[column]
        return labels
    return torch.full((len(batch["knee"]),), MISSING, dtype=torch.int64, device=batch["mri"].device)
