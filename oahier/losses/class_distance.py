"""Class distance weighted cross-entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from oahier.losses.ordinal_log_loss import OrdinalLogLoss


class ClassDistanceCrossEntropy(OrdinalLogLoss):
    r"""CDW-CE: :math:`-\sum_k |y - k|^\alpha \log \min(1 - p_k + m, 1)`.

    Polat et al. 2022, arXiv:2202.05167; with the margin :math:`m`, up to which the probability of a wrong
    class costs nothing, Polat et al. 2024, arXiv:2412.01246.

    Args:
        alpha: exponent of the distance in grades.
        margin: :math:`m`.

    Raises:
        ValueError: an exponent that is not positive, or a margin outside [0, 1).

    >>> criterion = ClassDistanceCrossEntropy(alpha=2.0)
    >>> criterion.build(3)
    >>> round(criterion.loss(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0])).item(), 4)
    1.4384
    """

    def __init__(self, alpha: float = 5.0, margin: float = 0.0) -> None:
        super().__init__(alpha)
        if not 0 <= margin < 1:
            raise ValueError(f"ClassDistanceCrossEntropy: margin must lie in [0, 1), got {margin}")
        self.margin = margin

    def log_others(self, log_p: Tensor) -> Tensor:
        """Logarithm of one less the probability of each class, with the margin added."""
        others = super().log_others(log_p)
        if not self.margin:
            return others
        return torch.logaddexp(others, others.new_tensor(math.log(self.margin))).clamp(max=0.0)
