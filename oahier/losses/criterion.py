"""Base class of criteria: losses that a head takes as an argument."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from oahier.specs import Specified
from oahier.types import Labels, RowLosses, Scalar, TrainingFacts


class Criterion(Specified, nn.Module, ABC):
    """Loss of a row from its scores and its label; ``SoftmaxHead(criterion=...)`` trains by it.

    >>> import torch
    >>> class Brier(Criterion):
    ...     def row_losses(self, scores, labels):
    ...         truth = torch.nn.functional.one_hot(labels, scores.shape[1])
    ...         return (scores.exp() - truth).square().sum(dim=1)
    >>> round(Brier().loss(torch.tensor([[0.7, 0.3]]).log(), torch.tensor([0])).item(), 4)
    0.18
    """

    reads_as: Literal["logits", "log_probabilities"] = "log_probabilities"
    """What the head hands over: log-probabilities fit any kind of head, logits one kind only."""

    def build(self, num_classes: int) -> None:
        """Take the number of classes; the head calls this when it is built."""

    def prepare(self, facts: TrainingFacts) -> None:
        """Use facts of the training split; see :meth:`oahier.Head.prepare`."""

    @abstractmethod
    def row_losses(self, scores: Tensor, labels: Labels) -> RowLosses:
        """Loss of each row ``(batch,)``.

        Args:
            scores: log-probabilities ``(batch, num_classes)``, or the logits of the head: see
                :attr:`reads_as`.
            labels: ``(batch,)`` int64; all rows have one.
        """

    def loss(self, scores: Tensor, labels: Labels) -> Scalar:
        """Mean of :meth:`row_losses`; override it by a faster equal only."""
        return self.row_losses(scores, labels).mean()
