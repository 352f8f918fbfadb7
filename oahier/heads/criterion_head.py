"""Heads whose loss is a criterion that they are given."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

from torch import Tensor

from oahier.heads.base import Head
from oahier.losses import Criterion
from oahier.types import Labels, Logits, RowLosses, Scalar, TrainingFacts


class CriterionHead(Head, ABC):
    """A head that leaves its loss to a criterion; a subclass defines :meth:`log_probabilities`.

    Args:
        num_classes: classes of the target.
        criterion: the loss, see :class:`~oahier.losses.Criterion`.
        options: of :class:`~oahier.heads.base.Head`.

    Raises:
        TypeError: something that is no criterion.
        ValueError: a criterion that reads logits, where logits are scores of this head's own kind.
    """

    own_logits: ClassVar[bool] = False
    """True where logits mean something to this head only, so that criteria get log-probabilities."""

    def __init__(self, num_classes: int, criterion: Any, **options: Any) -> None:
        super().__init__(num_classes, **options)
        if not isinstance(criterion, Criterion):
            raise TypeError(
                f"{type(self).__name__}: criterion: expected an oahier.losses.Criterion, "
                f"got {type(criterion).__name__}"
            )
        if self.own_logits and criterion.reads_as == "logits":
            raise ValueError(
                f"{type(self).__name__}: criterion: {type(criterion).__name__} reads logits, which mean "
                "something else in this head; give one that reads log-probabilities, such as "
                "oahier.CrossEntropy"
            )
        self.criterion: Criterion = criterion

    def build(self, in_features: int) -> None:
        super().build(in_features)
        self.criterion.build(self.num_classes)

    def prepare(self, facts: TrainingFacts) -> None:
        self.criterion.prepare(facts)

    def row_losses(self, logits: Logits, labels: Labels) -> RowLosses:
        return self.criterion.row_losses(self._scores(logits), labels)

    def loss(self, logits: Logits, labels: Labels) -> Scalar:
        return self.criterion.loss(self._scores(logits), labels)

    def reading_losses(self, logits: Logits, readings: Tensor) -> RowLosses:
        return self.criterion.reading_losses(self._scores(logits), readings)

    def _scores(self, logits: Logits) -> Tensor:
        return logits if self.criterion.reads_as == "logits" else self.log_probabilities(logits)
