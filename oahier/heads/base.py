"""Base class of heads: a projection, its loss, its probabilities and its severity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from oahier.losses.criterion import mean_over_readings
from oahier.specs import Specified
from oahier.types import (
    MISSING,
    Logits,
    LogProbabilities,
    Probabilities,
    RowLosses,
    Scalar,
    Severity,
    Targets,
    TrainingFacts,
)


class Head(Specified, nn.Module, ABC):
    """Reads an embedding at one level of the hierarchy.

    A subclass defines :meth:`row_losses` and :meth:`log_probabilities`, both from logits. The default
    projection is one linear layer.

    Args:
        num_classes: classes of the target (2 for OA, 5 for KL).
        num_logits: width of the projection; ``num_classes`` when not given.
        target: target column that supervises this head; the head's name in the model when not given. Several
            columns are readings of one label: metrics use the first, the loss all (:meth:`reading_losses`).
        reads: name of another head that this head reads instead of the embedding (the OA head of
            arXiv:2605.00718 reads the five KL logits); :attr:`reads_as` says what it is given.
        probe: learn from the detached input, so that no gradient reaches the encoder; short for the
            argument ``probes`` of the model.

    Raises:
        ValueError: fewer than two classes, or an empty list of targets.
    """

    reads_as: Literal["logits", "log_probabilities"] = "logits"
    """What this head is given of the head that it reads. Log-probabilities mean the same whatever the kind
    of the other head; its logits have to be learned from (or be known to be those of a softmax)."""

    learns_from: Literal["classes", "numbers"] = "classes"
    """Kind of the target columns: class labels (int64), or numbers (float32) that :meth:`classes_of` turns
    into classes for metrics."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in figures; empty where the target and a number, such as KL 3, name them."""
        return ()

    in_features: int | None = None
    """Width of the input that a model built this head for; None before."""

    def __init__(
        self,
        num_classes: int,
        *,
        num_logits: int | None = None,
        target: str | Sequence[str] | None = None,
        reads: str | None = None,
        probe: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"{type(self).__name__}: num_classes must be at least 2, got {num_classes}")
        if target is not None and not target:
            raise ValueError(f"{type(self).__name__}: target: expected a column or several, got {target!r}")
        self.num_classes = num_classes
        self.num_logits = num_classes if num_logits is None else num_logits
        self.target = target if target is None or isinstance(target, str) else tuple(target)
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
    def row_losses(self, logits: Logits, labels: Targets) -> RowLosses:
        """Loss of each row ``(batch,)``; all rows have a label (the model leaves the others out)."""

    def loss(self, logits: Logits, labels: Targets) -> Scalar:
        """Mean of :meth:`row_losses`, which the model minimises; override it by a faster equal only."""
        return self.row_losses(logits, labels).mean()

    def reading_losses(self, logits: Logits, readings: Tensor) -> RowLosses:
        """Loss of each row under several readings of its label: the mean over those that exist.

        Override it to model readers.

        Args:
            logits: ``(batch, num_logits)``.
            readings: ``(batch, readings)``, in the order of the targets. Every row has at least one;
                ``MISSING`` or NaN stands for the others (:func:`oahier.types.is_known`).
        """
        return mean_over_readings(self.row_losses, logits, readings)

    def classes_of(self, values: Tensor) -> Tensor:
        """Class labels ``(batch,)`` of a target column, for metrics; of numbers, all ``MISSING``.

        A head that learns from numbers and whose classes are intervals of them overrides it.
        """
        if self.learns_from == "classes":
            return values
        return torch.full(values.shape, MISSING, dtype=torch.int64, device=values.device)

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
