"""Cross-entropy with a label that is spread over neighbouring grades."""

from __future__ import annotations

from abc import abstractmethod
from math import sqrt

import torch
from torch import Tensor

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class SoftLabels(Criterion):
    r"""Cross-entropy with soft labels, :math:`-\sum_k q_{yk} \log p_k`; a subclass defines the table."""

    labels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("labels", torch.ones(1, 1), persistent=False)

    @abstractmethod
    def table(self, num_classes: int) -> Tensor:
        """Soft label ``(num_classes,)`` of every class, ``(num_classes, num_classes)``; rows sum to one."""

    def build(self, num_classes: int) -> None:
        self.labels = self.table(num_classes).float()

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        return -(self.labels[labels].to(scores.dtype) * scores).sum(dim=1)


class Sord(SoftLabels):
    r"""Soft ordinal labels, :math:`q_{yk} \propto e^{-\alpha |y - k|}`.

    Díaz & Marathe 2019, "Soft labels for ordinal regression", CVPR, doi:10.1109/CVPR.2019.00487.

    Args:
        alpha: how sharply labels fall off with distance in grades.

    Raises:
        ValueError: ``alpha`` is not positive.

    >>> [round(q, 3) for q in Sord(1.0).table(3)[0].tolist()]
    [0.665, 0.245, 0.09]
    """

    def __init__(self, alpha: float = 2.0) -> None:
        super().__init__()
        if not alpha > 0:
            raise ValueError(f"Sord: alpha must be positive, got {alpha}")
        self.alpha = alpha

    def table(self, num_classes: int) -> Tensor:
        k = torch.arange(num_classes, dtype=torch.float64)
        return (-self.alpha * (k[:, None] - k).abs()).softmax(dim=1)


class TriangularLabels(SoftLabels):
    r"""Labels spread by a triangular density over the neighbouring classes only.

    A class of the interior gives :math:`\alpha` to each neighbour; the first and the last what the same rule
    makes of one neighbour. Vargas, Gutiérrez, Barbero-Gómez & Hervás-Martínez 2023, Inf Fusion 93:258,
    doi:10.1016/j.inffus.2023.01.003.

    Args:
        alpha: share of each neighbour.

    Raises:
        ValueError: a share outside (0, 0.2], beyond which the density reaches further.
    """

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        if not 0 < alpha <= 0.2:
            raise ValueError(f"TriangularLabels: alpha must lie in (0, 0.2], got {alpha}")
        self.alpha = alpha

    def table(self, num_classes: int) -> Tensor:
        alpha, root = self.alpha, sqrt(2 * self.alpha)
        q = torch.diag(torch.full((num_classes,), 1 - 2 * alpha, dtype=torch.float64))
        q += torch.diag(torch.full((num_classes - 1,), alpha, dtype=torch.float64), 1)
        q += torch.diag(torch.full((num_classes - 1,), alpha, dtype=torch.float64), -1)
        ends = ((1.0, 0, 1), (((num_classes - 1) / num_classes) ** 2, -1, -2))
        for factor, end, neighbour in ends:
            inner = 1 - 4 * factor * (1 - 2 * alpha) * root * (root - 1)
            share = ((1 - sqrt(inner)) / 2) ** 2
            q[end, end], q[end, neighbour] = 1 - share, share
        return q


class BetaLabels(SoftLabels):
    r"""Labels spread by beta densities, integrated over the :math:`K` intervals of [0, 1].

    In the interior the mean is the middle of the class and the standard deviation half its width; the first
    class has :math:`B(1, 2K - 2)`, the last its mirror image. For 3 and 5 classes these are the parameters of
    Vargas, Gutiérrez & Hervás-Martínez 2022, Pattern Recognit 122:108310, doi:10.1016/j.patcog.2021.108310,
    who rounded them to whole numbers for others.

    >>> [round(q, 3) for q in BetaLabels().table(5)[1].tolist()]
    [0.163, 0.674, 0.16, 0.003, 0.0]
    """

    def table(self, num_classes: int) -> Tensor:
        from scipy.special import betainc

        edges = [k / num_classes for k in range(num_classes + 1)]
        shapes = [(1.0, 2.0 * num_classes - 2)]
        for k in range(1, num_classes - 1):
            mean = (k + 0.5) / num_classes
            total = mean * (1 - mean) * 4 * num_classes**2 - 1
            shapes.append((mean * total, (1 - mean) * total))
        shapes.append(shapes[0][::-1])
        rows = [[float(betainc(a, b, edge)) for edge in edges] for a, b in shapes]
        return torch.tensor(rows, dtype=torch.float64).diff(dim=1)
