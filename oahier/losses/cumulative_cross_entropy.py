"""Binary cross-entropy of every boundary between grades."""

from __future__ import annotations

import torch
from torch import Tensor

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class CumulativeCrossEntropy(Criterion):
    r"""Cross-entropy of the decision at every boundary, "above grade k" or not.

    :math:`-\sum_{k < y} \log P(y' > k) - \sum_{k \ge y} \log P(y' \le k)`. The loss of CORAL (Cao et al.
    2020, doi:10.1016/j.patrec.2020.11.008), on the probabilities of any head.

    >>> log_p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> round(CumulativeCrossEntropy().loss(log_p, torch.tensor([1])).item(), 4)
    0.9808
    """

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        below, above = log_cumulative(scores)
        is_above = labels[:, None] > torch.arange(scores.shape[1] - 1, device=labels.device)
        return -torch.where(is_above, above, below).sum(dim=1)


def log_cumulative(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of P(y <= k) and of P(y > k) of every boundary k, ``(rows, classes - 1)`` each."""
    below = log_p[:, :-1].logcumsumexp(dim=1)
    above = log_p.flip(1)[:, :-1].logcumsumexp(dim=1).flip(1)
    return below.clamp(max=0.0), above.clamp(max=0.0)
