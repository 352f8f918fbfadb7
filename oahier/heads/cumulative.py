"""Cumulative link model: one score, ordered thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.heads.links import Link, Logit, log1mexp
from oahier.losses import Criterion, CrossEntropy
from oahier.types import KL_GRADES, Logits, LogProbabilities

SMALLEST_GAP = 1e-4
"""Between two thresholds, so that every grade keeps a probability."""


class CumulativeHead(CriterionHead):
    r"""Proportional odds and its relatives: :math:`P(y \le k) = G(\theta_k - s)`.

    One score :math:`s` a knee (its only logit); thresholds :math:`\theta_0 < \theta_1 < \dots`, ordered by
    construction. McCullagh 1980, J R Stat Soc B 42:109, doi:10.1111/j.2517-6161.1980.tb01109.x.

    Args:
        num_classes: ordered classes.
        link: the distribution :math:`G`; :class:`~oahier.heads.Logit` when not given.
        thresholds: where to start, one less than classes; all classes equally likely when not given.
        criterion: the loss; the likelihood when not given.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: thresholds that do not rise, or another number of them.
    """

    own_logits = True

    def __init__(
        self, num_classes: int = KL_GRADES, *, link: Link | None = None,
        thresholds: Sequence[float] | None = None, criterion: Criterion | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, criterion or CrossEntropy(), num_logits=1, **options)
        self.link = link or Logit()
        if thresholds is None:
            thresholds = [self.link.quantile(k / num_classes) for k in range(1, num_classes)]
        start = torch.tensor(rising(type(self).__name__, thresholds, num_classes))
        self.first = nn.Parameter(start[:1].clone())
        gaps = (start.diff() - SMALLEST_GAP).clamp(min=1e-6)
        self.raw_gaps = nn.Parameter(gaps + log1mexp(gaps))  # inverse of softplus

    def build(self, in_features: int) -> None:
        self.criterion.build(self.num_classes)
        self.projection = nn.Linear(in_features, 1, bias=False)

    @property
    def gaps(self) -> Tensor:
        """Distances of neighbouring thresholds, ``(num_classes - 2,)``, all positive."""
        return F.softplus(self.raw_gaps) + SMALLEST_GAP

    @property
    def thresholds(self) -> Tensor:
        """``(num_classes - 1,)``, rising."""
        return torch.cat([self.first, self.first + self.gaps.cumsum(0)])

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return interval_log_probabilities(self.link, self.thresholds - logits, self.gaps)


def interval_log_probabilities(link: Link, edges: Tensor, gaps: Tensor) -> LogProbabilities:
    """Logarithms of the probabilities of the intervals that thresholds cut.

    Args:
        link: the distribution.
        edges: thresholds less the score, ``(batch, classes - 1)``.
        gaps: distances of neighbouring edges, ``(classes - 2,)``: known better than differences of edges.
    """
    parts = [
        link.log_below(edges[:, :1]),
        link.log_between(edges[:, :-1], gaps),
        link.log_above(edges[:, -1:]),
    ]
    return torch.cat(parts, dim=1)


def rising(name: str, thresholds: Sequence[float], num_classes: int) -> list[float]:
    """Thresholds as floats, one less than classes and each above the one before.

    Raises:
        ValueError: they are not.
    """
    values = [float(value) for value in thresholds]
    if len(values) != num_classes - 1 or not all(low < high for low, high in pairwise(values)):
        raise ValueError(
            f"{name}: thresholds: expected {num_classes - 1} rising numbers, one between each two of the "
            f"{num_classes} classes, got {values}; sort them or give one a boundary"
        )
    return values
