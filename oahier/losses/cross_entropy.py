"""Cross-entropy of several classes and of one logit, with weights of the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from oahier.losses.criterion import Criterion
from oahier.types import Labels, Logits, LogProbabilities, RowLosses, Scalar, TrainingFacts


def balanced_weights(counts: Sequence[int]) -> Tensor:
    """Weights ``n / (K n_k)`` of K classes that occur, as in scikit-learn; their mean over knees is one.

    A class without a knee has weight one.

    >>> balanced_weights([6, 2, 0]).tolist()
    [0.6666666865348816, 2.0, 1.0]
    """
    knees = torch.tensor(counts, dtype=torch.float64)
    present = knees > 0
    balanced = knees.sum() / (present.sum() * knees.clamp(min=1))
    return torch.where(present, balanced, 1.0).float()


class CrossEntropy(Criterion):
    r"""Cross-entropy with label smoothing and weights of the classes.

    :math:`-(1 - \epsilon) w_y \log p_y - \frac{\epsilon}{K} \sum_k w_k \log p_k`. The loss of a batch is the
    mean over its rows, not divided by the sum of their weights.

    Args:
        label_smoothing: share :math:`\epsilon` of the label mass spread evenly over all classes (Szegedy et
            al. 2016, arXiv:1512.00567).
        class_weights: weight of each class, or ``"balanced"`` for :func:`balanced_weights` of the training
            split.

    Raises:
        ValueError: a smoothing outside [0, 1), or weights that are negative or not one a class.

    >>> log_p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> round(CrossEntropy(class_weights=[1.0, 2.0, 3.0]).loss(log_p, torch.tensor([1])).item(), 4)
    2.7726
    """

    class_weights: Tensor | None

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: Sequence[float] | str | None = None
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"CrossEntropy: label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing
        self.balanced = class_weights == "balanced"
        self.register_buffer("class_weights", None)
        if not isinstance(class_weights, str) and class_weights is not None:
            if not all(math.isfinite(weight) and weight >= 0 for weight in class_weights):
                raise ValueError(
                    f"CrossEntropy: class_weights must be finite and >= 0, got {list(class_weights)}"
                )
            self.register_buffer("class_weights", torch.tensor([float(item) for item in class_weights]))
        elif class_weights is not None and not self.balanced:
            raise ValueError(
                f"CrossEntropy: class_weights: expected numbers or 'balanced', got {class_weights!r}"
            )

    def build(self, num_classes: int) -> None:
        if self.balanced:
            self.register_buffer("class_weights", torch.full((num_classes,), torch.nan))
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ValueError(
                f"CrossEntropy: expected {num_classes} class_weights, one a class, "
                f"got {len(self.class_weights)}"
            )

    def prepare(self, facts: TrainingFacts) -> None:
        if self.balanced and self.class_weights is not None:
            self.class_weights.copy_(balanced_weights(facts.counts(len(self.class_weights))))

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        weights = None if self.class_weights is None else self.class_weights.to(scores.dtype)
        rows = F.nll_loss(scores, labels, weight=weights, reduction="none")
        if not self.label_smoothing:
            return rows
        spread = -(scores if weights is None else scores * weights).sum(dim=1)
        return (1 - self.label_smoothing) * rows + self.label_smoothing / scores.shape[1] * spread

    def loss(self, scores: LogProbabilities, labels: Labels) -> Scalar:
        if self.class_weights is not None:
            return super().loss(scores, labels)
        mean = F.nll_loss(scores, labels)
        if not self.label_smoothing:
            return mean
        spread = -scores.sum(dim=1).mean()
        return (1 - self.label_smoothing) * mean + spread * (self.label_smoothing / scores.shape[1])


class BinaryCrossEntropy(Criterion):
    r"""Cross-entropy of a decision from one logit: :math:`-w y \log \sigma(z) - (1 - y) \log \sigma(-z)`.

    Args:
        positive_weight: weight :math:`w` of the positive class; ``"balanced"`` for the negative knees per
            positive one of the training split (1 where either class has none).

    Raises:
        ValueError: a weight that is not positive.

    >>> BinaryCrossEntropy(positive_weight=2.0).loss(torch.tensor([[0.0]]), torch.tensor([1])).item()
    1.3862943649291992
    """

    reads_as = "logits"
    positive_weight: float | Tensor

    def __init__(self, positive_weight: float | str = 1.0) -> None:
        super().__init__()
        if isinstance(positive_weight, str):
            if positive_weight != "balanced":
                raise ValueError(
                    "BinaryCrossEntropy: positive_weight: expected a number or 'balanced', "
                    f"got {positive_weight!r}"
                )
            self.register_buffer("positive_weight", torch.full((1,), torch.nan))
        elif not (math.isfinite(positive_weight) and positive_weight > 0):
            raise ValueError(f"BinaryCrossEntropy: positive_weight must be positive, got {positive_weight}")
        else:
            self.positive_weight = positive_weight

    def build(self, num_classes: int) -> None:
        if num_classes != 2:
            raise ValueError(
                f"BinaryCrossEntropy: expected a head of two classes, got {num_classes}; use CrossEntropy"
            )

    def prepare(self, facts: TrainingFacts) -> None:
        if isinstance(self.positive_weight, Tensor):
            negative, positive = facts.counts(2)
            self.positive_weight.fill_(negative / positive if negative and positive else 1.0)

    def row_losses(self, scores: Logits, labels: Labels) -> RowLosses:
        return self._reduced(scores, labels, "none")

    def loss(self, scores: Logits, labels: Labels) -> Scalar:
        return self._reduced(scores, labels, "mean")

    def _reduced(self, logits: Logits, labels: Labels, reduction: str) -> Tensor:
        if logits.shape[1] != 1:
            raise ValueError(
                f"BinaryCrossEntropy: expected one logit a row, as BinaryHead has, got {logits.shape[1]}; "
                "use CrossEntropy for heads with a logit a class"
            )
        weight = self.positive_weight
        return F.binary_cross_entropy_with_logits(
            logits[:, 0],
            labels.to(logits.dtype),
            pos_weight=weight.to(logits.dtype) if isinstance(weight, Tensor) else logits.new_tensor([weight]),
            reduction=reduction,
        )
