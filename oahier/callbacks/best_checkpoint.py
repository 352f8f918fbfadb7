"""The checkpoint of the best epoch, where the other files of the run are."""

from __future__ import annotations

import warnings
from typing import Literal

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from typing_extensions import override

from oahier.callbacks.keys import run_directory


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt`` and ``checkpoints/last.ckpt`` in the run's folder.

    The best epoch is chosen on the validation split; the test split is not looked at. Running again in
    the same folder replaces both files.

    Args:
        monitor: logged value to choose by, e.g. ``"val/kl/qwk"`` or ``"val/loss"``.
        mode: whether a larger (``"max"``) or a smaller (``"min"``) value is better.
    """

    def __init__(self, monitor: str = "val/kl/qwk", mode: Literal["min", "max"] = "max") -> None:
        super().__init__(
            monitor=monitor,
            mode=mode,
            filename="best",
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.dirpath is None:
            self.dirpath = str(run_directory(trainer) / "checkpoints")
        with warnings.catch_warnings():  # replacing both files is what this class is for
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            super().setup(trainer, pl_module, stage)
