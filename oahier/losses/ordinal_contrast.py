"""Supervised contrast of the embedding with grades that are more or less alike."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from oahier.hierarchy import FINE
from oahier.losses.terms import Term, labelled_embedding, nothing
from oahier.types import Scalar, Step


class OrdinalContrast(Term):
    r"""Supervised contrast in which a knee is a positive of another the more, the nearer their grades.

    Mean over knees i of :math:`-\sum_{j \ne i} w_{ij} \log \frac{\exp(z_i \cdot z_j / \tau)}{\sum_{k \ne i}
    \exp(z_i \cdot z_k / \tau)}` with embeddings z of length one and :math:`w_{ij} \propto
    \exp(-(y_i - y_j)^2 / 2 \sigma^2)`, which sum to one over j (y-aware InfoNCE: Dufumier et al. 2021,
    arXiv:2106.08808, eq. 3; for :math:`\sigma \to 0` the supervised contrast of Khosla et al. 2020,
    arXiv:2004.11362, eq. 2). Knees of one process's batch are compared.

    Args:
        target: column of grades or numbers.
        temperature: :math:`\tau`.
        bandwidth: :math:`\sigma`, in grades.
    """

    def __init__(self, target: str = FINE, temperature: float = 0.1, bandwidth: float = 1.0) -> None:
        super().__init__()
        self.target, self.temperature, self.bandwidth = target, temperature, bandwidth
        self.supervises = (target,)

    def forward(self, step: Step) -> Scalar:
        embedding, labels = labelled_embedding(step, self.target)
        if len(labels) < 2:
            return nothing(step)
        same = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        z = F.normalize(embedding, dim=1)
        log_p = (z @ z.T / self.temperature).masked_fill(same, -torch.inf).log_softmax(dim=1)
        apart = (labels[:, None] - labels[None, :]) / self.bandwidth
        weights = (-apart.square() / 2).masked_fill(same, -torch.inf).softmax(dim=1)
        return -(weights * log_p.masked_fill(same, 0.0)).sum(dim=1).mean()
