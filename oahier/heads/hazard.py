"""Time to an event in intervals of follow-up, with censoring."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oahier.heads.base import Head
from oahier.heads.links import Link, Logit
from oahier.types import MISSING, Logits, LogProbabilities, RowLosses, Targets


class HazardHead(Head):
    r"""Discrete hazards :math:`h_j = G(z_j)` of the intervals of follow-up, learned from censored times.

    The target is a column of signed months, as :func:`oahier.data.with_follow_up` makes it: *t* where the
    event was seen after *t* months, *-t* where there was none until follow-up ended after *t*. An event in
    interval *j* has the likelihood :math:`h_j \prod_{i<j} (1 - h_i)`, a censored knee
    :math:`\prod_i (1 - h_i)` over the intervals that it completed (Singer & Willett 1993,
    doi:10.3102/10769986018002155; Gensheimer & Narasimhan 2019, doi:10.7717/peerj.6257).

    Classes are ordered by severity: 0 is no event by the last edge, the last one an event in the first
    interval, so that :math:`P(y \ge K - 1 - j)` is the risk by ``edges[j]``.

    Args:
        edges: ends of the intervals in months.
        proportional: one score for all intervals above a baseline of each, instead of a logit each; with
            ``link=ComplementaryLogLog()`` these are proportional hazards.
        link: the distribution :math:`G`; :class:`~oahier.heads.Logit` when not given.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: edges that are not positive and rising.
    """

    learns_from = "numbers"
    edges: Tensor

    def __init__(
        self, edges: Sequence[int | float] = (12, 24, 36, 48), *, proportional: bool = False,
        link: Link | None = None, **options: Any,
    ) -> None:  # fmt: skip
        values = [float(edge) for edge in edges]
        if not values or not all(low < high for low, high in pairwise([0.0, *values])):
            raise ValueError(f"HazardHead: edges: expected rising months above 0, got {values}")
        super().__init__(len(values) + 1, num_logits=1 if proportional else len(values), **options)
        self.link = link or Logit()
        self.register_buffer("edges", torch.tensor(values), persistent=False)
        start = torch.full((len(values),), self.link.quantile(1 / self.num_classes))
        self.baseline = nn.Parameter(start)

    def build(self, in_features: int) -> None:
        self.projection = nn.Linear(in_features, self.num_logits, bias=False)

    def row_losses(self, logits: Logits, labels: Targets) -> RowLosses:
        happens, stays = self._logs(logits)
        months, event = labels.abs(), (labels > 0) & (labels <= self.edges[-1])
        interval = torch.searchsorted(self.edges, months).clamp(max=len(self.edges) - 1)
        ended = torch.where(event[:, None], self.edges < months[:, None], self.edges <= months[:, None])
        survived = torch.where(ended, stays, 0.0).sum(dim=1)
        return -survived - torch.where(event, happens.gather(1, interval[:, None])[:, 0], 0.0)

    def classes_of(self, values: Tensor) -> Tensor:
        """Interval of the event, in reverse; 0 for none by the last edge, ``MISSING`` if censored before."""
        interval = torch.searchsorted(self.edges, values.abs())
        known = (values > 0) | (values <= -self.edges[-1])
        classes = torch.where(values > 0, self.num_classes - 1 - interval, 0)
        return torch.where(known, classes, MISSING)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        happens, stays = self._logs(logits)
        return (F.pad(stays.cumsum(dim=1), (1, 0)) + F.pad(happens, (0, 1))).flip(1)

    def _logs(self, logits: Logits) -> tuple[Tensor, Tensor]:
        """Logarithms of the hazards and of one less them, ``(batch, intervals)``."""
        scores = logits + self.baseline
        return self.link.log_below(scores), self.link.log_above(scores)
