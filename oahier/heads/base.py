"""Base class of heads: a projection, its loss, its probabilities and its severity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from oahier.specs import Specified
from oahier.types import (
    Labels,
    Logits,
    LogProbabilities,
    Probabilities,
    RowLosses,
    Scalar,
    Severity,
    TrainingFacts,
)


class Head(Specified, nn.Module, ABC):
    """Reads an embedding at one level of the hierarchy.

    A subclass defines :meth:`row_losses` and :meth:`log_probabilities`, both from logits. The default
    projection is one linear layer.

    Args:
        num_classes: classes of the target (2 for OA, 5 for KL).
        num_logits: width of the projection; ``num_classes`` when not given.
        target: target column that supervises this head; the head's name in the model when not given.
        reads: name of another head that this head reads instead of the embedding (the OA head of
            arXiv:2605.00718 reads the five KL logits); :attr:`reads_as` says what it is given.
        probe: learn from the detached input, so that no gradient reaches the encoder; short for the
            argument ``probes`` of the model.

    Raises:
        ValueError: fewer than two classes.
    """

    reads_as: Literal["logits", "log_probabilities"] = "logits"
    """What this head is given of the head that it reads. Log-probabilities mean the same whatever the kind
    of the other head; its logits have to be learned from (or be known to be those of a softmax)."""

    in_features: int | None = None
    """Width of the input that a model built this head for; None before."""

    def __init__(
        self,
        num_classes: int,
        *,
        num_logits: int | None = None,
        target: str | None = None,
        reads: str | None = None,
        probe: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"{type(self).__name__}: num_classes must be at least 2, got {num_classes}")
        self.num_classes = num_classes
        self.num_logits = num_classes if num_logits is None else num_logits
        self.target = target
        self.reads = reads
        self.probe = probe

    def build(self, in_features: int) -> None:
        """Make the layers for an input of ``in_features``; the model calls this once."""
        self.projection = nn.Linear(in_features, self.num_logits)

    def prepare(self, facts: TrainingFacts) -> None:
        """Use facts of the training split, such as class counts; the model calls this before training.

        What is derived from them belongs in buffers, so that checkpoints hold it and a resumed run needs no
        data to find it again. Such a buffer is made in the constructor or in :meth:`build`, filled with NaN:
        a model refuses to train while a buffer holds NaN.
        """

    def forward(self, embedding: Tensor) -> Tensor:
        """Map ``(batch, in_features)`` to logits ``(batch, num_logits)``."""
        logits: Tensor = self.projection(embedding)
        return logits

    @abstractmethod
    def row_losses(self, logits: Logits, labels: Labels) -> RowLosses:
        """Loss of each row ``(batch,)``; all rows have a label (the model leaves the others out)."""

    def loss(self, logits: Logits, labels: Labels) -> Scalar:
        """Mean of :meth:`row_losses`, which the model minimises; override it by a faster equal only."""
        return self.row_losses(logits, labels).mean()

    @abstractmethod
    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        """Logarithms of the class probabilities ``(batch, num_classes)``."""

    def probabilities(self, logits: Logits) -> Probabilities:
        """Class probabilities ``(batch, num_classes)``, rows sum to one: ``exp`` of the logarithms.

        Override it by a more exact equal only.
        """
        return self.log_probabilities(logits).exp()

    def severity(self, logits: Logits) -> Severity:
        """Expected grade ``sum_k k P(k)``, ``(batch,)``: the scalar that saliency explains by default."""
        probabilities = self.probabilities(logits)
        return probabilities @ probabilities.new_tensor(range(self.num_classes))

    def width_of(self, other: Head) -> int:
        """Width of what this head is given of another one that it reads."""
        return other.num_logits if self.reads_as == "logits" else other.num_classes

    def input_from(self, other: Head, logits: Logits) -> Tensor:
        """What this head is given of another one that it reads: its logits or its log-probabilities."""
        return logits if self.reads_as == "logits" else other.log_probabilities(logits)
