"""Change between two visits: better, same or worse, exactly antisymmetric."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.heads.cumulative import SMALLEST_GAP, interval_log_probabilities
from oahier.heads.links import Link, Logit, log1mexp
from oahier.losses import Criterion, CrossEntropy
from oahier.types import Logits, LogProbabilities


class ChangeHead(CriterionHead):
    r"""Change from the difference of two embeddings; swapping the visits reverses it.

    The score :math:`s = w \cdot (e_2 - e_1)` has no bias, and the thresholds of :math:`P(y \le k) =
    G(\theta_k - s)` lie symmetrically about 0, so that :math:`P(k \mid s) = P(K - 1 - k \mid -s)`. Classes
    run from better to worse and the middle one is no change: three are better, same, worse; nine are
    differences of KL grades from -4 to 4; two are the model of Bradley & Terry 1952 (doi:10.2307/2334029).

    Args:
        num_classes: ordered classes.
        link: the distribution :math:`G`, which must be symmetric; :class:`~oahier.heads.Logit` when not
            given.
        criterion: the loss; the likelihood when not given.
        options: ``target``, ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: a link that is not symmetric.

    >>> head = ChangeHead()
    >>> worse, better = head.probabilities(torch.tensor([[1.5], [-1.5]]))
    >>> bool(torch.allclose(worse, better.flip(0)))
    True
    """

    own_logits = True

    def __init__(
        self, num_classes: int = 3, *, link: Link | None = None, criterion: Criterion | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, criterion or CrossEntropy(), num_logits=1, **options)
        self.link = link or Logit()
        if abs(self.link.quantile(0.2) + self.link.quantile(0.8)) > 1e-6:
            raise ValueError(
                f"ChangeHead: link: expected a symmetric distribution (Logit, Probit), got "
                f"{type(self.link).__name__}, with which swapped visits would not be reversed"
            )
        above = [self.link.quantile(k / num_classes) for k in range(num_classes // 2 + 1, num_classes)]
        steps = (torch.tensor([0.0, *above]).diff() - SMALLEST_GAP).clamp(min=1e-6)
        self.raw_steps = nn.Parameter(steps + log1mexp(steps))  # inverse of softplus

    def build(self, in_features: int) -> None:
        self.criterion.build(self.num_classes)
        self.projection = nn.Linear(in_features, 1, bias=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        return names_of_changes(self.num_classes)

    @property
    def thresholds(self) -> Tensor:
        """``(num_classes - 1,)``, rising, and their own negatives in reverse."""
        above = self._steps.cumsum(0)
        return torch.cat([-above.flip(0), above.new_zeros(1 - self.num_classes % 2), above])

    @property
    def _steps(self) -> Tensor:
        return F.softplus(self.raw_steps) + SMALLEST_GAP

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        steps = self._steps
        if self.num_classes % 2:
            gaps = torch.cat([steps[1:].flip(0), 2 * steps[:1], steps[1:]])
        else:
            gaps = torch.cat([steps.flip(0), steps])
        return interval_log_probabilities(self.link, self.thresholds - logits, gaps)


def names_of_changes(classes: int) -> tuple[str, ...]:
    """Names of ordered classes of change; an even number above two has none, for it has no middle.

    >>> names_of_changes(3), names_of_changes(5), names_of_changes(4)
    (('better', 'same', 'worse'), ('-2', '-1', '0', '+1', '+2'), ())
    """
    named = {2: ("better", "worse"), 3: ("better", "same", "worse")}
    if classes in named or classes % 2 == 0:
        return named.get(classes, ())
    return tuple(f"{step:+d}" if step else "0" for step in range(-(classes // 2), classes // 2 + 1))
