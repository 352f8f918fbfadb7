"""Regression on the grade, with thresholds between grades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oahier.heads.base import Head
from oahier.heads.cumulative import interval_log_probabilities, rising
from oahier.heads.links import Probit
from oahier.types import KL_GRADES, Labels, Logits, LogProbabilities, RowLosses


class RegressionHead(Head):
    r"""The grade as a number with a normal error: squared error, and grades by thresholds.

    The logit is the expected number :math:`s`. The loss is :math:`(y - s)^2 / 2\sigma^2 + \log \sigma` with
    one learned :math:`\sigma`, so :math:`s` is fitted by least squares. :math:`P(k)` is the share of
    :math:`N(s, \sigma)` between the thresholds around :math:`k`.

    Args:
        num_classes: ordered classes.
        thresholds: between the grades, one less than classes; 0.5, 1.5, ... when not given.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: thresholds that do not rise, or another number of them.
    """

    thresholds: Tensor

    def __init__(
        self, num_classes: int = KL_GRADES, *, thresholds: Sequence[float] | None = None, **options: Any
    ) -> None:
        super().__init__(num_classes, num_logits=1, **options)
        values = [k + 0.5 for k in range(num_classes - 1)] if thresholds is None else thresholds
        edges = torch.tensor(rising("RegressionHead", values, num_classes))
        self.register_buffer("thresholds", edges, persistent=False)
        self.raw_sigma = nn.Parameter(torch.zeros(1))

    def row_losses(self, logits: Logits, labels: Labels) -> RowLosses:
        sigma = self.sigma
        return ((labels - logits[:, 0]) / sigma).square() / 2 + sigma.log()

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        sigma, edges = self.sigma, self.thresholds
        return interval_log_probabilities(Probit(), (edges - logits) / sigma, edges.diff() / sigma)

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of the error, ``(1,)``; at least a hundredth of a grade."""
        return F.softplus(self.raw_sigma) + 0.01
