"""Half-precision volumes on their way to another device.

The cache holds float16; float32 is needed where volumes are computed with. Batches that a trainer moves to
another device are made float32 there, which is exact, so that half the bytes are read, kept, pinned, moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerStatus

from oahier.data.dataset import BUFFERS


def sends_half(trainer: L.Trainer | None) -> bool:
    """Whether a trainer is running that moves batches from the main memory to another device."""
    if trainer is None or trainer.state.status != TrainerStatus.RUNNING:
        return False
    return trainer.strategy.root_device.type != "cpu"


def in_single_precision(batch: Any, trainer: L.Trainer | None) -> Any:
    """A batch with float32 volumes instead of float16 ones, unless the trainer computes in float16."""
    mri = batch.get("mri") if isinstance(batch, Mapping) else None
    if mri is None or mri.dtype != torch.float16:
        return batch
    if trainer is not None and trainer.precision_plugin.convert_input(torch.zeros(())).dtype == torch.float16:
        return batch
    if mri.device.type != "cpu":
        return {**batch, "mri": mri.float()}
    return {**batch, "mri": BUFFERS.empty(tuple(mri.shape), torch.float32).copy_(mri)}
