"""The functional measures as :class:`torchmetrics.Metric`, for use inside a LightningModule of one's own.

States gather correctly over processes. Rows labelled ``MISSING`` are left out. Where torchmetrics' own
class is right also at the edges, use that: ``MulticlassCalibrationError`` and ``SpearmanCorrCoef``. Its
AUC, F1, recall and specificity return 0 where a class is absent; these return NaN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from oahier.metrics import confusion as matrix
from oahier.metrics import probability, ranking
from oahier.types import KL_GRADES, MISSING, Labels, Probabilities, Scalar


class ConfusionMetric(Metric):
    """A function of the confusion matrix; the predicted class is the most probable one.

    As input, ``update`` takes probabilities ``(batch, num_classes)`` and labels ``(batch,)``.

    Args:
        num_classes: number of classes, present or not.
        kwargs: arguments of :class:`torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor
    not_finite: Tensor

    def __init__(self, num_classes: int = KL_GRADES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.add_state(
            "confusion", torch.zeros(num_classes, num_classes, dtype=torch.long), dist_reduce_fx="sum"
        )
        self.add_state("not_finite", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, probabilities: Probabilities, labels: Labels) -> None:
        """Add a batch."""
        labelled = labels != MISSING
        predicted = probabilities[labelled].argmax(dim=1)
        self.not_finite += (~probabilities[labelled].isfinite()).sum()
        self.confusion += matrix.confusion_matrix(predicted, labels[labelled], self.num_classes)

    @override
    def compute(self) -> Scalar:
        """The measure over all batches; NaN without rows or after a probability that was not finite."""
        return self.measure(self.confusion).where(self.not_finite == 0, torch.nan)

    def measure(self, confusion: Tensor) -> Tensor:
        """The measure of a confusion matrix."""
        raise NotImplementedError


class QuadraticWeightedKappa(ConfusionMetric):
    """Quadratic weighted kappa; see :func:`~oahier.metrics.confusion.weighted_kappa`.

    >>> metric = QuadraticWeightedKappa(num_classes=2)
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), torch.tensor([0, 1, 1]))
    >>> metric.compute()
    tensor(0.4000, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.weighted_kappa(confusion)


class LinearWeightedKappa(ConfusionMetric):
    """Linear weighted kappa; see :func:`~oahier.metrics.confusion.weighted_kappa`.

    >>> metric = LinearWeightedKappa(num_classes=2)
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), torch.tensor([0, 1, 1]))
    >>> metric.compute()
    tensor(0.4000, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.weighted_kappa(confusion, power=1)


class Accuracy(ConfusionMetric):
    """Share of right predictions; see :func:`~oahier.metrics.confusion.accuracy`.

    >>> metric = Accuracy(num_classes=2)
    >>> metric(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0]))
    tensor(0.5000, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.accuracy(confusion)


class AccuracyWithinOne(ConfusionMetric):
    """Share of predictions off by one grade at most; see :func:`~oahier.metrics.confusion.accuracy_within`.

    >>> metric = AccuracyWithinOne(num_classes=3)
    >>> metric(torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1]]), torch.tensor([1, 2]))
    tensor(0.5000, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.accuracy_within(confusion)


class MeanAbsoluteError(ConfusionMetric):
    """Mean error in grades; see :func:`~oahier.metrics.confusion.mean_absolute_error`.

    >>> metric = MeanAbsoluteError(num_classes=3)
    >>> metric(torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1]]), torch.tensor([1, 2]))
    tensor(1.5000, dtype=torch.float64)
    """

    higher_is_better = False

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.mean_absolute_error(confusion)


class MacroMeanAbsoluteError(ConfusionMetric):
    """Mean over grades of their error; see :func:`~oahier.metrics.confusion.macro_mean_absolute_error`.

    >>> metric = MacroMeanAbsoluteError(num_classes=2)
    >>> metric(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), torch.tensor([0, 0, 1]))
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = False

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.macro_mean_absolute_error(confusion)


class MacroF1(ConfusionMetric):
    """Mean of the F1 scores of all classes; see :func:`~oahier.metrics.confusion.macro_f1`.

    >>> metric = MacroF1(num_classes=2)
    >>> metric(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), torch.tensor([0, 1, 1]))
    tensor(0.6667, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.macro_f1(confusion)


class Sensitivity(ConfusionMetric):
    """Share of positive knees found, for two classes; see :func:`~oahier.metrics.confusion.sensitivity`.

    >>> Sensitivity()(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([1, 1]))
    tensor(0.5000, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.sensitivity(confusion)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(num_classes=2, **kwargs)


class Specificity(ConfusionMetric):
    """Share of negative knees left alone, for two classes; see :func:`~oahier.metrics.confusion.specificity`.

    >>> Specificity()(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0]))
    tensor(0.5000, dtype=torch.float64)
    """

    @override
    def measure(self, confusion: Tensor) -> Tensor:
        return matrix.specificity(confusion)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(num_classes=2, **kwargs)


class RankedProbabilityScore(Metric):
    """Mean ranked probability score; see :func:`~oahier.metrics.probability.ranked_probability_score`.

    >>> metric = RankedProbabilityScore()
    >>> metric(torch.tensor([[0.2, 0.4, 0.2, 0.2], [0.7, 0.1, 0.1, 0.1]]), torch.tensor([0, 0]))
    tensor(0.4900, dtype=torch.float64)
    """

    is_differentiable = True
    higher_is_better = False
    full_state_update = False
    total: Tensor
    rows: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("rows", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, probabilities: Probabilities, labels: Labels) -> None:
        """Add a batch of probabilities ``(batch, classes)`` and labels ``(batch,)``."""
        labelled = labels != MISSING
        rows = int(labelled.sum())
        if rows:
            score = probability.ranked_probability_score(probabilities[labelled], labels[labelled])
            self.total = self.total + rows * score
            self.rows += rows

    @override
    def compute(self) -> Scalar:
        """The mean over all rows; NaN without any."""
        return self.total / self.rows


class RankingMetric(Metric):
    """A function of all probabilities and labels, which are kept until the end of the epoch.

    As input, ``update`` takes probabilities ``(batch, classes)`` and labels ``(batch,)``.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    @override
    def update(self, probabilities: Probabilities, labels: Labels) -> None:
        """Add a batch."""
        labelled = labels != MISSING
        self.probabilities.append(probabilities[labelled].detach())
        self.labels.append(labels[labelled])

    @override
    def compute(self) -> Scalar:
        """The measure over all rows; NaN without any."""
        if len(self.labels) == 0:
            return torch.tensor(torch.nan, dtype=torch.float64)
        return self.measure(dim_zero_cat(self.probabilities), dim_zero_cat(self.labels))

    def measure(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """The measure of all rows."""
        raise NotImplementedError


class MacroAUC(RankingMetric):
    """Mean one-versus-rest AUC; see :func:`~oahier.metrics.ranking.macro_auc`.

    >>> p = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3]])
    >>> MacroAUC()(p, torch.tensor([0, 1, 2]))
    tensor(0.7500, dtype=torch.float64)
    """

    @override
    def measure(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        return ranking.macro_auc(probabilities, labels)


class BinaryAUC(RankingMetric):
    """AUC of the second of two classes; see :func:`~oahier.metrics.ranking.binary_auc`.

    >>> BinaryAUC()(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    tensor(1., dtype=torch.float64)
    """

    @override
    def measure(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        return ranking.binary_auc(probabilities[:, 1], labels)


class AveragePrecision(RankingMetric):
    """Average precision of the second of two classes; see :func:`~oahier.metrics.ranking.average_precision`.

    >>> AveragePrecision()(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    tensor(1., dtype=torch.float64)
    """

    @override
    def measure(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        return ranking.average_precision(probabilities[:, 1], labels)
