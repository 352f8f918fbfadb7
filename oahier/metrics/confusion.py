"""Measures that depend on predicted and true classes only, computed from their confusion matrix.

All are NaN where they are undefined. Wherever scikit-learn defines a value without a warning, with
``labels=range(num_classes)``, these functions return the same one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.types import Labels, Scalar

Confusion = Int[Tensor, "classes classes"]
"""Counts; rows are true classes, columns are predicted ones."""


def confusion_matrix(predicted: Labels, labels: Labels, num_classes: int) -> Confusion:
    """Count pairs of true (row) and predicted (column) class.

    Args:
        predicted: ``(rows,)`` predicted classes.
        labels: ``(rows,)`` true classes; none may be missing.
        num_classes: number of classes, present or not.

    Raises:
        ValueError: other shapes, or a class outside ``0 ... num_classes - 1``.

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), num_classes=2)
    tensor([[1, 1],
            [0, 1]])
    """
    if predicted.shape != labels.shape:
        raise ValueError(
            f"predicted and labels: expected one shape, got {tuple(predicted.shape)}, {tuple(labels.shape)}"
        )
    for name, values in (("predicted", predicted), ("labels", labels)):
        wrong = values[(values < 0) | (values >= num_classes)]
        if len(wrong):
            raise ValueError(
                f"{name}: expected classes 0 to {num_classes - 1}, got {sorted(set(wrong.tolist()))}; "
                "leave out rows whose label is missing"
            )
    index = labels.long() * num_classes + predicted.long()
    return torch.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(confusion: Confusion) -> Scalar:
    """Share of rows whose class is predicted right; NaN without rows.

    >>> accuracy(torch.tensor([[1, 1], [0, 1]]))
    tensor(0.6667, dtype=torch.float64)
    """
    return accuracy_within(confusion, grades=0)


def accuracy_within(confusion: Confusion, grades: int = 1) -> Scalar:
    """Share of rows whose prediction is off by at most ``grades``; NaN without rows.

    >>> accuracy_within(torch.tensor([[1, 1, 1], [0, 0, 0], [0, 1, 0]]))
    tensor(0.7500, dtype=torch.float64)
    """
    counts = confusion.double()
    return (counts * (_distance(counts) <= grades)).sum() / counts.sum()


def weighted_kappa(confusion: Confusion, power: int = 2) -> Scalar:
    r"""Weighted kappa (Cohen 1968, doi:10.1037/h0026256).

    :math:`\kappa = 1 - \sum_{ij} w_{ij} O_{ij} / \sum_{ij} w_{ij} E_{ij}` with
    :math:`w_{ij} = |i - j|^\text{power}`; *E* is the matrix expected from the margins of *O*. The weights
    count from the first possible grade to the last, whether or not a grade occurs.

    Args:
        confusion: counts.
        power: 2 for the quadratic weighted kappa (QWK), 1 for linear weights.

    Returns:
        NaN without rows, or where truth and prediction are one and the same single grade.

    >>> weighted_kappa(torch.tensor([[1, 1], [0, 1]]), power=2)
    tensor(0.4000, dtype=torch.float64)
    """
    counts = confusion.double()
    weights = _distance(counts) ** power
    expected = counts.sum(1, keepdim=True) * counts.sum(0, keepdim=True) / counts.sum()
    return 1 - (weights * counts).sum() / _positive((weights * expected).sum())


def mean_absolute_error(confusion: Confusion) -> Scalar:
    """Mean distance in grades between prediction and truth; NaN without rows.

    >>> mean_absolute_error(torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 1]]))
    tensor(0.5000, dtype=torch.float64)
    """
    counts = confusion.double()
    return (counts * _distance(counts)).sum() / counts.sum()


def macro_mean_absolute_error(confusion: Confusion) -> Scalar:
    """Mean over grades of the error within each (Baccianella et al. 2009, doi:10.1109/ISDA.2009.230).

    Returns:
        NaN when some grade has no row: its error is unknown, and a mean over the others would not be
        comparable between sets.

    >>> macro_mean_absolute_error(torch.tensor([[3, 0, 1], [0, 1, 0], [0, 0, 1]]))
    tensor(0.1667, dtype=torch.float64)
    """
    counts = confusion.double()
    return ((counts * _distance(counts)).sum(1) / counts.sum(1)).mean()


def f1_per_class(confusion: Confusion) -> Float[Tensor, " classes"]:
    r""":math:`2 TP / (2 TP + FP + FN)` of each class; NaN for a class neither present nor predicted.

    >>> f1_per_class(torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))
    tensor([0.6667, 0.6667,    nan], dtype=torch.float64)
    """
    counts = confusion.double()
    return 2 * counts.diagonal() / (counts.sum(0) + counts.sum(1))


def macro_f1(confusion: Confusion) -> Scalar:
    """Mean of the F1 scores of all classes; NaN when one of them is (see :func:`f1_per_class`).

    >>> macro_f1(torch.tensor([[1, 1], [0, 1]]))
    tensor(0.6667, dtype=torch.float64)
    """
    return f1_per_class(confusion).mean()


def sensitivity(confusion: Int[Tensor, "2 2"]) -> Scalar:
    """Share of positive rows (class 1) that are found; NaN without positive rows.

    >>> sensitivity(torch.tensor([[4, 1], [1, 3]]))
    tensor(0.7500, dtype=torch.float64)
    """
    return confusion[1, 1].double() / confusion[1].sum()


def specificity(confusion: Int[Tensor, "2 2"]) -> Scalar:
    """Share of negative rows (class 0) that are left alone; NaN without negative rows.

    >>> specificity(torch.tensor([[4, 1], [1, 3]]))
    tensor(0.8000, dtype=torch.float64)
    """
    return confusion[0, 0].double() / confusion[0].sum()


def _distance(counts: Tensor) -> Tensor:
    grades = torch.arange(len(counts), dtype=counts.dtype, device=counts.device)
    return (grades[:, None] - grades[None, :]).abs()


def _positive(denominator: Tensor) -> Tensor:
    """NaN in place of zero, so that a quotient is undefined instead of infinite."""
    return denominator.where(denominator > 0, torch.nan)
