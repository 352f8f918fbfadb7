"""CORN: a chain of binary decisions, each with a direction of its own."""

from __future__ import annotations

from typing import Any

from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.losses import Criterion, CrossEntropy
from oahier.types import KL_GRADES, Logits, LogProbabilities


class CornHead(CriterionHead):
    r"""Conditional ordinal regression: :math:`P(y > k \mid y \ge k) = \sigma(z_k)`, chained.

    Shi, Cao & Raschka 2023, Pattern Anal Appl 26:941, doi:10.1007/s10044-023-01181-9 (arXiv:2111.08851). The
    sum over the decisions that a row takes part in is its negative log-likelihood, which is minimised here.
    The paper divides by the number of decisions in the batch instead of the number of rows; the loss of a row
    would then depend on the others.

    Args:
        num_classes: ordered classes; one logit less.
        criterion: another loss.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.
    """

    own_logits = True

    def __init__(
        self, num_classes: int = KL_GRADES, *, criterion: Criterion | None = None, **options: Any
    ) -> None:
        super().__init__(num_classes, criterion or CrossEntropy(), num_logits=num_classes - 1, **options)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        reached = F.pad(F.logsigmoid(logits).cumsum(dim=1), (1, 0))
        return reached + F.pad(F.logsigmoid(-logits), (0, 1))
