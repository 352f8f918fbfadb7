"""Heads whose probabilities have one mode."""

from __future__ import annotations

from typing import Any

from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.heads.unimodal_distributions import Binomial, UnimodalDistribution
from oahier.losses import Criterion, CrossEntropy
from oahier.types import KL_GRADES, Logits, LogProbabilities


class UnimodalHead(CriterionHead):
    """Probabilities of a distribution with one mode: a neighbour of the likely grade is the next likely.

    Beckham & Pal 2017, "Unimodal probability distributions for deep ordinal classification",
    arXiv:1705.05278 (binomial and Poisson).

    Args:
        num_classes: ordered classes.
        distribution: :class:`~oahier.heads.Binomial` when not given, :class:`~oahier.heads.Poisson` or
            :class:`~oahier.heads.Beta`.
        criterion: the loss; the likelihood when not given.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.

    >>> import torch
    >>> [round(p, 4) for p in UnimodalHead(3).probabilities(torch.zeros(1, 1))[0].tolist()]
    [0.25, 0.5, 0.25]
    """

    own_logits = True

    def __init__(
        self, num_classes: int = KL_GRADES, *, distribution: UnimodalDistribution | None = None,
        criterion: Criterion | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.distribution = distribution or Binomial()
        width = self.distribution.num_parameters
        super().__init__(num_classes, criterion or CrossEntropy(), num_logits=width, **options)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return F.log_softmax(self.distribution.log_weights(logits, self.num_classes), dim=1)
