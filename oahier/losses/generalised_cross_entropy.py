"""Generalised cross-entropy, between cross-entropy and absolute error."""

from __future__ import annotations

from torch.nn import functional as F

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class GeneralisedCrossEntropy(Criterion):
    r"""Bounded loss for noisy labels: :math:`(1 - p_y^q) / q`.

    Zhang & Sabuncu 2018, arXiv:1805.07836. Small :math:`q` is near cross-entropy, 1 is the absolute error.

    Args:
        q: exponent.

    Raises:
        ValueError: an exponent outside (0, 1].

    >>> import torch
    >>> GeneralisedCrossEntropy(1.0).loss(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0])).item()
    0.75
    """

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        if not 0 < q <= 1:
            raise ValueError(f"GeneralisedCrossEntropy: q must lie in (0, 1], got {q}")
        self.q = q

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        log_p = -F.nll_loss(scores, labels, reduction="none")
        return -(self.q * log_p).expm1() / self.q
