"""Term that orders knees by grade along one direction of the embedding."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from oahier.hierarchy import FINE
from oahier.losses.terms import Term, labelled_embedding, nothing
from oahier.types import Scalar, Step


class AxisOrder(Term):
    r"""Severity that grows along one learned direction of the embedding.

    Mean of :math:`\log(1 + \exp(-(t_i - t_j)))` over the pairs of knees with :math:`y_i > y_j`, where
    :math:`t = v \cdot u` is the position of an embedding v ``(batch, features)`` along a unit vector u
    (RankNet: Burges et al. 2005, doi:10.1145/1102351.1102363, eq. 3). Knees of one process's batch are
    compared.

    Args:
        target: column of grades or numbers.
    """

    def __init__(self, target: str = FINE) -> None:
        super().__init__()
        self.target, self.supervises = target, (target,)

    def build(self, num_features: int) -> None:
        self.direction = torch.nn.Parameter(torch.randn(num_features))

    def forward(self, step: Step) -> Scalar:
        embedding, labels = labelled_embedding(step, self.target)
        along = embedding @ F.normalize(self.direction, dim=0)
        higher = labels[:, None] > labels[None, :]
        if not bool(higher.any()):
            return nothing(step)
        return F.softplus(-(along[:, None] - along[None, :]))[higher].mean()
