"""PCGrad: gradients of several losses without the components that oppose another loss."""

from __future__ import annotations

import torch
from torch import Tensor

from oahier.losses.shared_gradients import gradients_at
from oahier.losses.weighting import LossWeighting


class PCGrad(LossWeighting):
    r"""The sum of all losses, whose gradients at the embedding are projected where they conflict.

    :math:`g_i \leftarrow g_i - \frac{g_i \cdot g_j}{|g_j|^2} g_j` for each other loss j with :math:`g_i \cdot
    g_j < 0`, in random order (Yu et al. 2020, arXiv:2001.06782, algorithm 1). Projected are the gradients at
    the embedding ``(batch, features)``, not at every weight of the encoder: one backward pass of the encoder
    is enough, and heads learn from their own loss as ever. The order follows from the number of the step,
    which checkpoints hold. Each process projects the gradients of its own knees.

    >>> a = torch.tensor([[1.0, 0.0]], requires_grad=True)
    >>> losses = {"x": a[0, 0], "y": -a[0, 0] + a[0, 1]}
    >>> torch.autograd.grad(PCGrad()(losses, a), a)[0].tolist()
    [[0.5, 1.5]]
    """

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        total = torch.stack(list(losses.values())).sum()
        if shared is None or not shared.requires_grad or not torch.is_grad_enabled() or len(losses) < 2:
            return total
        gradients = gradients_at(losses.values(), shared)
        change = (self._projected(gradients) - gradients).sum(dim=0).view_as(shared)
        self.steps += int(self.training)
        surgery = (change.to(shared.dtype) * shared).sum()
        return total + surgery - surgery.detach()

    def _projected(self, gradients: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(self.steps))
        projected = []
        for at, gradient in enumerate(gradients):
            for other in torch.randperm(len(gradients), generator=generator).tolist():
                against = gradients[other]
                overlap = (gradient @ against).clamp(max=0)
                if other != at:
                    gradient = gradient - overlap / against.square().sum().clamp(min=1e-30) * against
            projected.append(gradient)
        return torch.stack(projected)
