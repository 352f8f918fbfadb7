"""GradNorm: loss weights by which all tasks train at similar rates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oahier.losses.shared_gradients import gradients_at
from oahier.losses.weighting import LossWeighting


class GradNorm(LossWeighting):
    r"""Learned weights that bring the gradients of all losses to one length, longer for slow tasks.

    Weights :math:`w = K\,\mathrm{softmax}(v)` of K losses minimise :math:`\sum_i |G_i - \bar G r_i^\alpha|`,
    where :math:`G_i = w_i |\nabla L_i|` at the embedding and :math:`r_i` is :math:`L_i / L_i(0)` over its
    mean (Chen et al. 2018, arXiv:1711.02257, eq. 1 and 2; the softmax keeps the sum of the weights at K,
    where the paper divides after each step). Losses that are 0 take no part in it. The objective has the
    value :math:`\sum_i w_i L_i`. :math:`L_i(0)` is the first training batch's, of the first process; each
    process compares its own gradients, DDP averages those of v.

    Args:
        alpha: how strongly slow tasks are sped up; 0 gives all gradients one length.

    Raises:
        ValueError: a negative alpha.
    """

    first: Tensor

    def __init__(self, alpha: float = 1.5) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"GradNorm: alpha must be at least 0, got {alpha}")
        self.alpha = alpha

    def build(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.logits = nn.Parameter(torch.zeros(len(self.names)))
        self.logits._no_weight_decay = True  # type: ignore[attr-defined]
        self.register_buffer("first", torch.zeros(len(self.names)))  # 0: not seen yet

    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        at = [self.names.index(name) for name in losses]
        values = torch.stack(list(losses.values()))
        weights = len(self.names) * self.logits.softmax(dim=0)[at]
        objective: Tensor = (weights.detach() * values).sum() + 0.0 * self.logits.sum()
        if shared is None or not shared.requires_grad or not torch.is_grad_enabled():
            return objective
        present = values.detach().float()
        active = present > 0  # a term that has nothing to say is 0
        first = torch.where(self.first[at] > 0, self.first[at], present)
        if self.training:
            self.first[at] = torch.where(active, first, self.first[at])
        norms = weights * gradients_at(losses.values(), shared).norm(dim=1)
        rates = present / first.clamp(min=1e-12)
        targets = norms[active].mean().detach() * (rates / rates[active].mean()) ** self.alpha
        balance: Tensor = (norms - targets)[active].abs().sum()
        return objective + balance - balance.detach()
