"""One logit a class."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.losses import Criterion, CrossEntropy
from oahier.types import KL_GRADES, Logits, LogProbabilities, Probabilities


class SoftmaxHead(CriterionHead):
    r"""Softmax over classes, :math:`P(k) = e^{z_k} / \sum_j e^{z_j}`, trained by cross-entropy.

    Args:
        num_classes: number of classes; five for KL grades, two for the published OA head.
        label_smoothing: short for ``criterion=CrossEntropy(label_smoothing=...)``.
        criterion: another loss, see :class:`~oahier.losses.Criterion`.
        target, reads, probe: see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: a smoothing outside [0, 1), or one beside a criterion.

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
        criterion: Criterion | None = None,
        target: str | Sequence[str] | None = None,
        reads: str | None = None,
        probe: bool = False,
    ) -> None:
        if criterion is not None and label_smoothing:
            raise ValueError("SoftmaxHead: give label_smoothing to the criterion, not beside one")
        criterion = CrossEntropy(label_smoothing) if criterion is None else criterion
        super().__init__(num_classes, criterion, target=target, reads=reads, probe=probe)

    @property
    def label_smoothing(self) -> float:
        """Share of the label mass that is spread over all classes; 0 for criteria that have none."""
        return float(getattr(self.criterion, "label_smoothing", 0.0))

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return F.log_softmax(logits, dim=1)

    def probabilities(self, logits: Logits) -> Probabilities:
        return F.softmax(logits, dim=1)
