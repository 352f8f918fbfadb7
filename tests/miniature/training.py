"""Steps and fits of tiny models, and modules that mislead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor, nn

import oahier as oh
from oahier.testing import tiny_dataloader, tiny_trainer
from oahier.types import Batch


def step(model: oh.HierarchicalClassifier, batch: Batch) -> Any:
    """A step without a trainer: nothing is logged."""
    return model._step(batch, None)


def fit(
    folder: Path, model: oh.HierarchicalClassifier, batches: Sequence[Batch], **options: Any
) -> L.Trainer:
    data = tiny_dataloader(batches)
    trainer = tiny_trainer(folder, **options)
    trainer.fit(model, data, data)
    return trainer


class Misleading(nn.Module):
    """Says that it has seven features, and has four."""

    num_features = 7

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, 4, 3)

    def forward(self, volume: Tensor) -> Tensor:
        return self.convolution(volume)


def in_processes(script: Path, folder: Path, processes: int) -> Path:
    """Run a script that trains in some processes; its folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), str(folder), str(processes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
