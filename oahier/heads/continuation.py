"""Continuation ratio: one score, a chain of decisions to stop or go on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.heads.links import Link, Logit
from oahier.losses import Criterion, CrossEntropy
from oahier.types import KL_GRADES, Logits, LogProbabilities


class ContinuationRatioHead(CriterionHead):
    r"""Sequential model with one score: :math:`P(y = k \mid y \ge k) = G(\theta_k - s)`.

    The thresholds need no order, as each is of another decision. With the complementary log-log link it is
    the grouped proportional hazards model. Tutz 1991, Comput Stat Data Anal 11:275,
    doi:10.1016/0167-9473(91)90086-H.

    Args:
        num_classes: ordered classes.
        link: the distribution :math:`G`; :class:`~oahier.heads.Logit` when not given.
        criterion: the loss; the likelihood when not given.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.
    """

    own_logits = True

    def __init__(
        self, num_classes: int = KL_GRADES, *, link: Link | None = None, criterion: Criterion | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, criterion or CrossEntropy(), num_logits=1, **options)
        self.link = link or Logit()
        equal = [self.link.quantile(1 / (num_classes - k)) for k in range(num_classes - 1)]
        self.thresholds = nn.Parameter(torch.tensor(equal))

    def build(self, in_features: int) -> None:
        self.criterion.build(self.num_classes)
        self.projection = nn.Linear(in_features, 1, bias=False)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        edges = self.thresholds - logits
        reached = F.pad(self.link.log_above(edges).cumsum(dim=1), (1, 0))
        return reached + F.pad(self.link.log_below(edges), (0, 1))
