"""One logit for a decision between two classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.losses import BinaryCrossEntropy, Criterion
from oahier.types import Logits, LogProbabilities, Probabilities


class BinaryHead(CriterionHead):
    r"""Binary decision from one logit, :math:`P(1) = \sigma(z)`, trained by binary cross-entropy.

    Args:
        positive_weight: short for ``criterion=BinaryCrossEntropy(positive_weight)``.
        criterion: another loss, see :class:`~oahier.losses.Criterion`.
        target, reads, probe: see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: a weight that is not positive, or one beside a criterion.

    >>> head = BinaryHead()
    >>> head.probabilities(torch.tensor([[0.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        *,
        positive_weight: float = 1.0,
        criterion: Criterion | None = None,
        target: str | Sequence[str] | None = None,
        reads: str | None = None,
        probe: bool = False,
    ) -> None:
        if criterion is not None and positive_weight != 1.0:
            raise ValueError("BinaryHead: give positive_weight to the criterion, not beside one")
        criterion = BinaryCrossEntropy(positive_weight) if criterion is None else criterion
        super().__init__(2, criterion, num_logits=1, target=target, reads=reads, probe=probe)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return F.logsigmoid(torch.cat([-logits, logits], dim=1))

    def probabilities(self, logits: Logits) -> Probabilities:
        return torch.sigmoid(torch.cat([-logits, logits], dim=1))
