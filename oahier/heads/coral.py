"""CORAL: one score, biases of its own for each boundary between grades."""

from __future__ import annotations

from typing import Any

from oahier.heads.cumulative import CumulativeHead
from oahier.losses import Criterion, CumulativeCrossEntropy
from oahier.types import KL_GRADES


class CoralHead(CumulativeHead):
    r"""Consistent rank logits: :math:`P(y > k) = \sigma(s + b_k)`, a binary cross-entropy for each boundary.

    Cao, Mirjalili & Raschka 2020, Pattern Recognit Lett 140:325, doi:10.1016/j.patrec.2020.11.008. The paper
    leaves the biases free and proves that they are ordered where the loss is smallest (theorem 1); here
    :math:`b_k = -\theta_k` is ordered by construction, so probabilities are coherent at every step. It is
    :class:`~oahier.CumulativeHead` with :class:`~oahier.CumulativeCrossEntropy`.

    Args:
        num_classes: ordered classes.
        criterion: another loss.
        options: ``thresholds`` to start from; ``target``, ``reads``, ``probe``.
    """

    def __init__(
        self, num_classes: int = KL_GRADES, *, criterion: Criterion | None = None, **options: Any
    ) -> None:
        super().__init__(num_classes, criterion=criterion or CumulativeCrossEntropy(), **options)
