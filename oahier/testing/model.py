"""A tiny model and trainer that take milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import nn

from oahier.encoders import StagedEncoder
from oahier.heads import BinaryHead, Head, SoftmaxHead
from oahier.hierarchy import DEFAULT_HIERARCHY
from oahier.model import HierarchicalClassifier


class TinyEncoder(StagedEncoder):
    """Two convolutions with batch normalisation and dropout: all that training can be disturbed by.

    Args:
        width: channels; also the width of the embedding.
    """

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.num_features = width
        self.first = self._stage(1, width, 0.1)
        self.second = self._stage(width, width, 0.0)

    @staticmethod
    def _stage(channels: int, out_channels: int, dropout: float) -> nn.Module:
        return nn.Sequential(
            nn.Conv3d(channels, out_channels, 3, stride=2, padding=1),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(),
            nn.Dropout3d(dropout),
        )

    def stages(self) -> Sequence[nn.Module]:
        return [self.first, self.second]


def tiny_heads(names: Iterable[str]) -> dict[str, Head]:
    """New heads by name: binary where the level has two classes, softmax over the grades otherwise."""
    binary = {level for level in DEFAULT_HIERARCHY.levels if DEFAULT_HIERARCHY.num_classes(level) == 2}
    return {name: BinaryHead() if name in binary else SoftmaxHead() for name in names}


def tiny_model(heads: Iterable[str] = ("oa", "kl"), **arguments: Any) -> HierarchicalClassifier:
    """A model of :class:`TinyEncoder` and the named heads (``"oa"`` binary, ``"kl"`` softmax).

    >>> sorted(tiny_model().heads)
    ['kl', 'oa']
    """
    return HierarchicalClassifier(TinyEncoder(), tiny_heads(heads), **arguments)


def tiny_trainer(folder: Path | str, **options: Any) -> L.Trainer:
    """A quiet trainer on one CPU process that writes into ``folder`` only.

    Args:
        folder: the run's folder (``default_root_dir``).
        options: of ``lightning.Trainer``; they replace the quiet ones.
    """
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "max_epochs": 1,
    }
    return L.Trainer(default_root_dir=folder, **{**quiet, **options})
