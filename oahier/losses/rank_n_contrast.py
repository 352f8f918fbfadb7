"""Contrast of the embedding by the ranks of label distances."""

from __future__ import annotations

import torch

from oahier.hierarchy import FINE
from oahier.losses.terms import Term, labelled_embedding, nothing
from oahier.types import Scalar, Step


class RankNContrast(Term):
    r"""Knees of near grades lie nearer in the embedding than knees of far grades.

    Mean over pairs :math:`i \ne j` of :math:`-\log \frac{\exp(-|v_i - v_j| / \tau)}{\sum_{k \in S_{ij}}
    \exp(-|v_i - v_k| / \tau)}`, where :math:`S_{ij}` are the knees whose grades are at least as far from that
    of i as j's is (Zha et al. 2023, arXiv:2210.01189, eq. 1 and 2). Knees of one process's batch are
    compared.

    Args:
        target: column of grades or numbers.
        temperature: :math:`\tau`.
    """

    def __init__(self, target: str = FINE, temperature: float = 2.0) -> None:
        super().__init__()
        self.target, self.temperature, self.supervises = target, temperature, (target,)

    def forward(self, step: Step) -> Scalar:
        embedding, labels = labelled_embedding(step, self.target)
        if len(labels) < 2:
            return nothing(step)
        distances = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
        alike = -distances / self.temperature
        apart = (labels[:, None] - labels[None, :]).abs()
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        total = nothing(step)
        for distance in apart[others].unique():
            pairs = (apart == distance) & others
            rows = pairs.any(dim=1)
            farther = alike[rows].masked_fill(~((apart >= distance) & others)[rows], -torch.inf)
            total = total + (farther.logsumexp(dim=1, keepdim=True) - alike[rows])[pairs[rows]].sum()
        return total / int(others.sum())
