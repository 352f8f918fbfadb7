"""Gradients of several losses at the embedding that they share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor


def gradients_at(losses: Iterable[Tensor], shared: Tensor) -> Float[Tensor, "losses values"]:
    """One row a loss: its gradient at ``shared``, flattened; zero where it does not depend on it.

    >>> shared = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> gradients_at([shared.sum(), shared.square().sum()], shared).tolist()
    [[1.0, 1.0], [2.0, 4.0]]
    """
    rows = []
    for loss in losses:
        found = None
        if loss.requires_grad:
            (found,) = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros_like(shared).flatten() if found is None else found.flatten())
    return torch.stack(rows).float()
