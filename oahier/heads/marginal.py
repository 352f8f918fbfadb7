"""A coarse level, read from a head of a fine one."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.hierarchy import DEFAULT_HIERARCHY, Hierarchy
from oahier.losses import Criterion, CrossEntropy
from oahier.types import Logits, LogProbabilities


class MarginalHead(CriterionHead):
    r"""Coarse probabilities that a fine head implies, :math:`P(\mathrm{OA}) = \sum_{k \ge 2} P(k)`.

    It has no parameters: its loss supervises the head that it reads, whatever that head's kind, and the two
    levels are coherent.

    Args:
        level: the coarse level; the one above the level that is read when not given.
        hierarchy: levels; OA above KL grades when not given.
        reads: name of the head that is read; that of its level when not given.
        fine: level of that head; the finest when not given.
        criterion: the loss; cross-entropy when not given.
        options: ``target``, ``probe``, see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: a level that is not coarser than the one read; a head of another number of classes.
    """

    reads_as = "log_probabilities"
    own_logits = True

    def __init__(
        self, level: str | None = None, *, hierarchy: Hierarchy | None = None, reads: str | None = None,
        fine: str | None = None, criterion: Criterion | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.hierarchy = hierarchy or DEFAULT_HIERARCHY
        self.fine = fine or self.hierarchy.finest
        self.level = self.hierarchy.above(self.fine, level)
        classes = self.hierarchy.num_classes(self.level)
        super().__init__(classes, criterion or CrossEntropy(), reads=reads or self.fine, **options)

    def build(self, in_features: int) -> None:
        self.criterion.build(self.num_classes)
        expected = self.hierarchy.num_classes(self.fine)
        if in_features != expected:
            raise ValueError(
                f"MarginalHead: expected {self.reads!r} to be a head of the {expected} classes of level "
                f"{self.fine!r}, got {in_features}; name another head (reads) or level (fine)"
            )

    def forward(self, embedding: Tensor) -> Tensor:
        """Log-probabilities ``(batch, coarse classes)`` from those of the fine head."""
        return self.hierarchy.log_marginal(embedding, self.fine, self.level)

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        return F.log_softmax(logits, dim=1)
