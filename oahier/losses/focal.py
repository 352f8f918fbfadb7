"""Focal loss."""

from __future__ import annotations

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class Focal(Criterion):
    r"""Cross-entropy that counts confident rows less: :math:`-(1 - p_y)^\gamma \log p_y`.

    Lin et al. 2017, "Focal loss for dense object detection", arXiv:1708.02002, eq. 4.

    Args:
        gamma: focusing exponent; 0 is cross-entropy.

    Raises:
        ValueError: a negative exponent.

    >>> import torch
    >>> round(Focal(gamma=2.0).loss(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([0])).item(), 4)
    0.1733
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"Focal: gamma must be at least 0, got {gamma}")
        self.gamma = gamma

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        log_p = scores.gather(1, labels[:, None])[:, 0]
        # 1 - p as -expm1(log p), kept away from 0, where the power has no finite slope for gamma < 1
        return -((-log_p.expm1()).clamp(min=1e-12) ** self.gamma) * log_p
