"""Cross-entropy with its reverse."""

from __future__ import annotations

from torch.nn import functional as F

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class SymmetricCrossEntropy(Criterion):
    r"""For noisy labels: :math:`-\alpha \log p_y - \beta A (1 - p_y)`, where :math:`A = \log 0` of the label.

    Wang et al. 2019, arXiv:1908.06112; the reverse term is bounded.

    Args:
        alpha: weight of cross-entropy.
        beta: weight of reverse cross-entropy.
        log_zero: :math:`A`, what stands for the logarithm of a label's zeros.

    Raises:
        ValueError: weights that are negative or both 0, or an ``log_zero`` that is not negative.

    >>> import torch
    >>> SymmetricCrossEntropy(0.0, 1.0).loss(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0])).item()
    3.0
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0) -> None:
        super().__init__()
        if min(alpha, beta) < 0 or alpha + beta <= 0 or not log_zero < 0:
            raise ValueError(
                "SymmetricCrossEntropy: expected weights of 0 or more, not both 0, and log_zero below 0, got "
                f"alpha={alpha}, beta={beta}, log_zero={log_zero}"
            )
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        loss = F.nll_loss(scores, labels, reduction="none")
        return self.alpha * loss + self.beta * self.log_zero * (-loss).expm1()
