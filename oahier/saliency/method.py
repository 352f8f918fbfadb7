"""Contract of saliency methods: a batch of knees with a score in, one map a knee out."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from oahier.saliency.cam import Score, tail_score


@dataclass(frozen=True)
class ExplainedKnees:
    """A batch of knees and one number a knee that is to be explained, from any stage of the network on."""

    encoder: Any
    """An :class:`~oahier.Encoder` in evaluation mode."""
    read: Callable[[Tensor], Tensor]
    """Embedding ``(batch, features)`` to score ``(batch,)``."""
    mri: Tensor
    """``(batch, 1, i, j, k)``."""
    features: Sequence[Tensor]
    """The encoder's maps of these volumes, finest first."""
    knees: Sequence[str]
    """Ids; they seed whatever is random, so that a knee's map does not depend on its batch."""

    def of_volume(self, volume: Tensor) -> Tensor:
        """Scores ``(batch,)`` of any volumes, with the graph where gradients are on."""
        with torch.autocast(volume.device.type, enabled=False):
            return self.read(self.encoder(volume))

    def from_stage(self, stage: int) -> tuple[Tensor, Score]:
        """The map of a stage (-1 is the coarsest), in the precision of the weights, and the score of it."""
        kind = self.dtype
        maps = [item.to(kind) for item in self.features]
        score = tail_score(maps, self.read, stage=stage, resume=self.encoder.resume, embed=self.encoder.embed)
        return maps[stage], score

    @property
    def volume(self) -> Tensor:
        """The volumes in the precision of the weights."""
        return self.mri.to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the encoder's weights: maps made under autocast are half as wide."""
        parameter = next(self.encoder.parameters(), None)
        return torch.promote_types(self.mri.dtype, torch.float32) if parameter is None else parameter.dtype

    @property
    def generators(self) -> list[torch.Generator]:
        """A source of randomness for each knee, on the CPU, in the same state at every call."""
        return [torch.Generator().manual_seed(zlib.crc32(knee.encode())) for knee in self.knees]


class SaliencyMethod(ABC):
    """Explains a score: ``method(knees)`` is a map ``(batch, *grid)`` for each knee, at least zero.

    Called under ``no_grad`` or ``inference_mode``; it touches no ``.grad``, mode, weight or global random
    state. Maps of a coarser grid than the volume's are resampled by who asks.
    """

    name: str
    """Names files, columns and conditions."""
    needs_grid = True
    """It explains a feature map, so the encoder must have one of more than one cell."""
    passes = "0"
    """What it costs over the forward pass that was made anyway, in words, for pages and logs."""

    @abstractmethod
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        """Maps ``(batch, a, b, c)``."""

    def at(self, stage: int) -> SaliencyMethod:
        """The same method on another feature map; itself where there is no choice."""
        return self

    def __str__(self) -> str:
        return self.name
