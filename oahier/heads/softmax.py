"""One logit a class, trained by cross-entropy."""

from __future__ import annotations

from torch.nn import functional as F

from oahier.heads.base import Head
from oahier.types import KL_GRADES, Labels, Logits, LogProbabilities, Probabilities, RowLosses, Scalar


class SoftmaxHead(Head):
    r"""Softmax over classes, trained by cross-entropy.

    :math:`P(k) = e^{z_k} / \sum_j e^{z_j}`, loss :math:`-\log P(y)`.

    Args:
        num_classes: number of classes; five for KL grades, two for the published OA head.
        label_smoothing: share of the label mass spread evenly over all classes (Szegedy et al. 2016,
            arXiv:1512.00567).
        target, reads, probe: see :class:`~oahier.heads.base.Head`.

    >>> import torch
    >>> head = SoftmaxHead(num_classes=5)
    >>> head.severity(torch.zeros(1, 5)).item()
    2.0
    """

    def __init__(
        self,
        num_classes: int = KL_GRADES,
        *,
        label_smoothing: float = 0.0,
        target: str | None = None,
        reads: str | None = None,
        probe: bool = False,
    ) -> None:
        super().__init__(num_classes, target=target, reads=reads, probe=probe)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"SoftmaxHead: label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def row_losses(self, logits: Logits, labels: Labels) -> RowLosses:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")

    def loss(self, logits: Logits, labels: Labels) -> Scalar:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return F.log_softmax(logits, dim=1)

    def probabilities(self, logits: Logits) -> Probabilities:
        return F.softmax(logits, dim=1)
