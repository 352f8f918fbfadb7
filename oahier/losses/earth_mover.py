"""Squared earth mover's distance between probabilities and label."""

from __future__ import annotations

import torch

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class SquaredEarthMover(Criterion):
    r"""Squared differences of the distribution functions, :math:`\sum_k (P(y' \le k) - [y \le k])^2`.

    Hou, Yu & Samaras 2016, "Squared earth mover's distance-based loss", arXiv:1611.05916. It is the ranked
    probability score, a proper score.

    >>> log_p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> SquaredEarthMover().loss(log_p, torch.tensor([0])).item()
    0.3125
    """

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        reached = labels[:, None] <= torch.arange(scores.shape[1] - 1, device=labels.device)
        below = scores.exp().cumsum(dim=1)[:, :-1]
        return (below - reached.to(scores.dtype)).square().sum(dim=1)
