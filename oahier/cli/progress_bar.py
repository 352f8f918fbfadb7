"""Progress bar of the training commands: epochs from 1 on, and loss, QWK and AUC beside the bar."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from typing_extensions import override


class EpochBar(RichProgressBar):
    """Lightning's bar that counts from 1 and leaves out the number of a logger's version."""

    @override
    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        text = f"Epoch {current_epoch + 1}" + ("" if last in (None, -1) else f"/{last}")
        return text.ljust(len(self.validation_description))

    @override
    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return {name.removeprefix("val/"): value for name, value in items.items()}
