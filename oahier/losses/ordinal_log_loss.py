"""Log losses that weigh every wrong class by its distance from the label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class OrdinalLogLoss(Criterion):
    r"""Ordinal log loss (OLL): :math:`-\sum_k d(y, k)^\alpha \log (1 - p_k)`.

    Castagnos, Mihelich & Dognin 2022, "A simple log-based loss function for ordinal text classification",
    COLING, https://aclanthology.org/2022.coling-1.407. Only wrong classes cost; with :math:`d = |y - k|` it
    is :class:`~oahier.ClassDistanceCrossEntropy` without a margin.

    Args:
        alpha: exponent of the distances.
        distances: :math:`d`, a row for each true class; the difference of the classes when not given.

    Raises:
        ValueError: an exponent that is not positive; distances that are negative, not 0 for the true class,
            or not of all pairs of classes.
    """

    costs: Tensor

    def __init__(self, alpha: float = 1.5, distances: Sequence[Sequence[float]] | None = None) -> None:
        super().__init__()
        if not alpha > 0:
            raise ValueError(f"{type(self).__name__}: alpha must be positive, got {alpha}")
        self.alpha, self.distances = alpha, distances
        self.register_buffer("costs", torch.zeros(1, 1), persistent=False)

    def build(self, num_classes: int) -> None:
        k = torch.arange(float(num_classes))
        distances = (k[:, None] - k).abs() if self.distances is None else torch.tensor(self.distances).float()
        square = distances.shape == (num_classes, num_classes)
        if not square or bool((distances < 0).any()) or bool(distances.diagonal().any()):
            raise ValueError(
                f"OrdinalLogLoss: distances: expected {num_classes} rows of {num_classes} numbers of 0 or "
                f"more, 0 for the true class, got {self.distances}"
            )
        self.costs = distances**self.alpha

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        return -(self.costs[labels].to(scores.dtype) * self.log_others(scores)).sum(dim=1)

    def log_others(self, log_p: Tensor) -> Tensor:
        """Logarithm of one less each probability: of the sum of the others, exact where that is small."""
        same = torch.eye(log_p.shape[1], dtype=torch.bool, device=log_p.device)
        return log_p[:, None, :].masked_fill(same, -torch.inf).logsumexp(dim=2)
