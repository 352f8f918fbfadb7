"""One logit for a decision between two classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from oahier.heads.base import Head
from oahier.types import Labels, Logits, LogProbabilities, Probabilities, RowLosses, Scalar


class BinaryHead(Head):
    r"""Binary decision from one logit, trained by binary cross-entropy.

    :math:`P(1) = \sigma(z)`, loss :math:`-y \log \sigma(z) - (1 - y) \log \sigma(-z)`.

    Args:
        positive_weight: weight of the positive class in the loss.
        target, reads, probe: see :class:`~oahier.heads.base.Head`.

    >>> head = BinaryHead()
    >>> head.probabilities(torch.tensor([[0.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        *,
        positive_weight: float = 1.0,
        target: str | None = None,
        reads: str | None = None,
        probe: bool = False,
    ) -> None:
        super().__init__(2, num_logits=1, target=target, reads=reads, probe=probe)
        if positive_weight <= 0:
            raise ValueError(f"BinaryHead: positive_weight must be positive, got {positive_weight}")
        self.positive_weight = positive_weight

    def row_losses(self, logits: Logits, labels: Labels) -> RowLosses:
        return self._cross_entropy(logits, labels, "none")

    def loss(self, logits: Logits, labels: Labels) -> Scalar:
        return self._cross_entropy(logits, labels, "mean")

    def _cross_entropy(self, logits: Logits, labels: Labels, reduction: str) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            logits[:, 0],
            labels.to(logits.dtype),
            pos_weight=logits.new_tensor([self.positive_weight]),
            reduction=reduction,
        )

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return F.logsigmoid(torch.cat([-logits, logits], dim=1))

    def probabilities(self, logits: Logits) -> Probabilities:
        return torch.sigmoid(torch.cat([-logits, logits], dim=1))
