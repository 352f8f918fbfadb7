"""What a head is: a projection, its loss, its probabilities and its severity, behind one name."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from oahier.specs import Specified
from oahier.types import Labels, Logits, Probabilities, Scalar, Severity


class Head(Specified, nn.Module, ABC):
    """Reads an embedding at one granularity of the hierarchy.

    A subclass defines :meth:`loss`, :meth:`probabilities` and, unless grades are expected values of
    class numbers, :meth:`severity`. The default projection is one linear layer.

    Args:
        num_classes: classes of the target (2 for OA, 5 for KL).
        num_logits: width of the projection; ``num_classes`` when not given.
        target: target column that teaches this head; the head's name in the model when not given.
        reads: name of another head whose *logits* this head reads instead of the embedding (the OA head
            of arXiv:2605.00718 reads the five KL logits).
        probe: learn from the detached input, without teaching the encoder.

    Raises:
        ValueError: fewer than two classes.
    """

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

    def forward(self, embedding: Tensor) -> Tensor:
        """Map ``(batch, in_features)`` to logits ``(batch, num_logits)``."""
        logits: Tensor = self.projection(embedding)
        return logits

    @abstractmethod
    def loss(self, logits: Logits, labels: Labels) -> Scalar:
        """Mean loss over rows that all have a label (the model leaves the others out)."""

    @abstractmethod
    def probabilities(self, logits: Logits) -> Probabilities:
        """Class probabilities ``(batch, num_classes)``; rows sum to one."""

    def severity(self, logits: Logits) -> Severity:
        """Expected grade ``sum_k k P(k)``, ``(batch,)``: the scalar that saliency explains by default."""
        probabilities = self.probabilities(logits)
        return probabilities @ probabilities.new_tensor(range(self.num_classes))
