"""Dynamic weight average: loss weights from how fast each loss fell over the last epochs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from oahier.losses.weighting import LossWeighting


class DynamicWeightAverage(LossWeighting):
    r"""Larger weights for losses that fell less from one epoch to the next.

    :math:`w_k = K\,\mathrm{softmax}_k(r_k / \tau)` with :math:`r_k = \bar L_k(t-1) / \bar L_k(t-2)`, the
    means of the last two training epochs; 1 for all in the first two (Liu et al. 2019, arXiv:1803.10704, eq.
    7). Under DDP the means are those of the first process.

    Args:
        temperature: :math:`\tau`; the larger, the more equal the weights.

    Raises:
        ValueError: a temperature that is not positive.
    """

    means: Tensor
    running: Tensor
    epoch: Tensor

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"DynamicWeightAverage: temperature must be positive, got {temperature}")
        self.temperature = temperature

    def build(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.register_buffer("means", torch.zeros(2, len(self.names)))  # of the last two epochs; 0: none
        self.register_buffer("running", torch.zeros(2, len(self.names)))  # sums and counts of this epoch
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))

    def begin_epoch(self, epoch: int) -> None:
        if epoch != int(self.epoch):
            total, count = self.running
            now = torch.where(count > 0, total / count.clamp(min=1), self.means[1])
            self.means.copy_(torch.stack([self.means[1], now]))
            self.running.zero_()
            self.epoch.fill_(epoch)

    def weights(self) -> Tensor:
        """Weights of the losses in the order of their names; their sum is the number of losses."""
        before, last = self.means
        rates = torch.where((before > 0) & (last > 0), last / before.clamp(min=1e-12), 1.0)
        return len(self.names) * (rates / self.temperature).softmax(dim=0)

    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        at = [self.names.index(name) for name in losses]
        values = torch.stack(list(losses.values()))
        if self.training and torch.is_grad_enabled():
            self.running[0, at] += values.detach().to(self.running)
            self.running[1, at] += 1
        return (self.weights()[at] * values).sum()
