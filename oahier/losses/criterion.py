"""Base class of criteria: losses that a head takes as an argument."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from oahier.specs import Specified
from oahier.types import Labels, RowLosses, Scalar, TrainingFacts, is_known


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

    def reading_losses(self, scores: Tensor, readings: Tensor) -> RowLosses:
        """Loss of each row under several readings of its label; see :meth:`oahier.Head.reading_losses`."""
        return mean_over_readings(self.row_losses, scores, readings)


def mean_over_readings(
    row_losses: Callable[[Tensor, Tensor], RowLosses], scores: Tensor, readings: Tensor
) -> RowLosses:
    """Mean loss of each row over those of its readings ``(batch, readings)`` that exist."""
    known = is_known(readings)
    total = scores.new_zeros(len(scores))
    for labels, exists in zip(readings.unbind(1), known.unbind(1), strict=True):
        if bool(exists.any()):
            rows = row_losses(scores[exists], labels[exists])
            total = total.to(rows.dtype).index_put((exists,), rows, accumulate=True)
    return total / known.sum(dim=1)
