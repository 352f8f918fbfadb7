"""Cross-entropy that leaves the class frequencies of the training split out of the scores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses, TrainingFacts


class LogitAdjusted(Criterion):
    r"""Logit-adjusted cross-entropy: that of probabilities :math:`\propto p_k \pi_k^\tau`.

    Menon et al. 2021, "Long-tail learning via logit adjustment", arXiv:2007.07314. The head's own :math:`p`
    becomes that of balanced classes; :math:`\pi` are the shares of the classes in the training split, where
    a class without a knee counts as one with one.

    Args:
        tau: exponent of the priors; 0 is cross-entropy.

    Raises:
        ValueError: a negative exponent.
    """

    log_priors: Tensor

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        if not tau >= 0:
            raise ValueError(f"LogitAdjusted: tau must be at least 0, got {tau}")
        self.tau = tau
        self.register_buffer("log_priors", torch.full((1,), torch.nan))

    def build(self, num_classes: int) -> None:
        self.log_priors = torch.full((num_classes,), torch.nan)

    def prepare(self, facts: TrainingFacts) -> None:
        counts = torch.tensor(facts.counts(len(self.log_priors)), dtype=torch.float64).clamp(min=1)
        self.log_priors.copy_((counts / counts.sum()).log())

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        adjusted = scores + self.tau * self.log_priors.to(scores.dtype)
        return F.cross_entropy(adjusted, labels, reduction="none")
