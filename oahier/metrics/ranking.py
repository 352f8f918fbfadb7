"""Measures of how a score orders the rows. Ties count exactly; results are float64, NaN if undefined."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from oahier.types import Labels, Probabilities, Scalar, Severity


def average_ranks(values: Shaped[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """Ranks from 1; equal values share the mean of theirs.

    >>> average_ranks(torch.tensor([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, group, size = torch.unique(values, return_inverse=True, return_counts=True)
    last = size.cumsum(0).double()
    ranks: Tensor = (last - (size.double() - 1) / 2)[group]
    return ranks


def binary_auc(scores: Float[Tensor, " rows"], labels: Labels) -> Scalar:
    """Area under the ROC curve: the chance that a positive row scores above a negative one, ties half.

    Mann-Whitney form (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747).

    Args:
        scores: ``(rows,)``, larger for class 1.
        labels: ``(rows,)`` 0 or 1; none may be missing.

    Returns:
        NaN when a class is absent or a score is not finite.

    >>> binary_auc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    tensor(0.7500, dtype=torch.float64)
    """
    return _auc(average_ranks(scores), labels == 1) if _finite(scores) else _nan(scores)


def macro_auc(probabilities: Probabilities, labels: Labels) -> Scalar:
    """Mean over classes of the area under the ROC curve of that class against the rest.

    Returns:
        NaN when some class is absent from the labels: its area is undefined.

    >>> p = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3]])
    >>> macro_auc(p, torch.tensor([0, 1, 2]))
    tensor(0.7500, dtype=torch.float64)
    """
    if not _finite(probabilities):
        return _nan(probabilities)
    areas = [_auc(average_ranks(column), labels == grade) for grade, column in enumerate(probabilities.T)]
    return torch.stack(areas).mean()


def average_precision(scores: Float[Tensor, " rows"], labels: Labels) -> Scalar:
    r"""Average precision :math:`\sum_n (R_n - R_{n-1}) P_n` over the distinct scores, without interpolation.

    Returns:
        NaN when a class is absent (without negatives every ranking is perfect) or a score is not finite.

    >>> average_precision(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    tensor(0.8333, dtype=torch.float64)
    """
    positive = labels == 1
    if not _finite(scores) or not 0 < int(positive.sum()) < len(labels):
        return _nan(scores)
    _, group, size = torch.unique(-scores, return_inverse=True, return_counts=True)
    found = torch.zeros(len(size), dtype=torch.float64, device=scores.device)
    found.index_add_(0, group, positive.double())
    precision = found.cumsum(0) / size.cumsum(0)
    area: Tensor = (found / found.sum() * precision).sum()
    return area


def spearman(severity: Severity, labels: Labels) -> Scalar:
    """Spearman's rank correlation with ties: Pearson's correlation of the average ranks.

    Returns:
        NaN when either side is constant or a severity is not finite.

    >>> spearman(torch.tensor([0.2, 1.1, 0.9]), torch.tensor([0, 1, 2]))
    tensor(0.5000, dtype=torch.float64)
    """
    if not _finite(severity):
        return _nan(severity)
    x, y = (ranks - ranks.mean() for ranks in (average_ranks(severity), average_ranks(labels)))
    scale = (x.square().sum() * y.square().sum()).sqrt()
    return (x * y).sum() / scale.where(scale > 0, torch.nan)


def _auc(ranks: Float[Tensor, " rows"], positive: Bool[Tensor, " rows"]) -> Tensor:
    positives = positive.sum()
    pairs = (positives * (~positive).sum()).double()
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return wins / pairs.where(pairs > 0, torch.nan)


def _finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())


def _nan(values: Tensor) -> Tensor:
    return torch.tensor(torch.nan, dtype=torch.float64, device=values.device)
