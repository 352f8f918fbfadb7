"""A head that decides level by level, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from oahier.heads.criterion_head import CriterionHead
from oahier.hierarchy import DEFAULT_HIERARCHY, Hierarchy
from oahier.losses import Criterion, CrossEntropy
from oahier.types import Logits, LogProbabilities, RowLosses, TrainingFacts, is_known


class ConditionalHead(CriterionHead):
    r"""Hierarchical softmax: :math:`P(\mathrm{KL}=k) = P(\mathrm{OA}) P(k \mid \mathrm{OA})`.

    The logits are those of each level, coarsest first; a softmax among the children of one parent. The levels
    are coherent by construction. Every level's label supervises it: a knee with OA alone by
    :math:`-\log P(\mathrm{OA})`, one with a grade by the criterion. Morin & Bengio 2005, "Hierarchical
    probabilistic neural network language model", AISTATS, PMLR R5:246.

    Args:
        hierarchy: levels; OA above KL grades when not given.
        criterion: the loss of rows with a label of the finest level; cross-entropy when not given.
        target: columns, the levels by their names when not given. One named like a coarser level holds its
            label; the others are readings of the finest.
        options: ``reads``, ``probe``, see :class:`~oahier.heads.base.Head`.

    Raises:
        ValueError: the first column is not of the finest level.
    """

    own_logits = True

    def __init__(
        self, *, hierarchy: Hierarchy | None = None, criterion: Criterion | None = None,
        target: str | Sequence[str] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.hierarchy = hierarchy or DEFAULT_HIERARCHY
        levels = self.hierarchy.levels
        self.widths = [self.hierarchy.num_classes(level) for level in levels]
        target = levels if target is None else target
        columns = [target] if isinstance(target, str) else list(target)
        if columns[:1] and columns[0] in levels[1:]:
            raise ValueError(
                f"ConditionalHead: target: expected a column of the finest level {levels[0]!r} first, which "
                f"metrics use, got {columns}; a head of {columns[0]!r} alone is a SoftmaxHead"
            )
        self.fine = [at for at, column in enumerate(columns) if column not in levels[1:]]
        self.coarse = {columns.index(level): level for level in levels[1:] if level in columns}
        super().__init__(
            self.widths[0], criterion or CrossEntropy(), num_logits=sum(self.widths), target=target, **options
        )

    def prepare(self, facts: TrainingFacts) -> None:
        columns = [facts.targets[at] for at in self.fine if at < len(facts.targets)]
        self.criterion.prepare(replace(facts, targets=tuple(columns)))

    def log_probabilities(self, logits: Logits) -> LogProbabilities:
        levels = self.hierarchy.levels[::-1]
        first, *others = logits.split(self.widths[::-1], dim=1)
        joint = F.log_softmax(first, dim=1)
        for coarse, fine, part in zip(levels, levels[1:], others, strict=False):
            siblings = self.hierarchy.children(fine, coarse)
            given = torch.cat([F.log_softmax(part[:, group], dim=1) for group in siblings], dim=1)
            order = [child for group in siblings for child in group]
            back = [order.index(child) for child in range(len(order))]
            joint = joint[:, list(self.hierarchy.parents(fine, coarse))] + given[:, back]
        return joint

    def reading_losses(self, logits: Logits, readings: Tensor) -> RowLosses:
        """Loss of each row by its finest label; ``readings`` has the columns of the target."""
        log_p, fine = self.log_probabilities(logits), readings[:, self.fine]
        graded = is_known(fine).any(dim=1)
        total, waiting = log_p.new_zeros(log_p.shape[0]), ~graded
        if bool(graded.any()):
            several, labels = len(self.fine) > 1, fine[graded]
            losses = self.criterion.reading_losses if several else self.criterion.row_losses
            found = losses(log_p[graded], labels if several else labels[:, 0])
            total = total.index_put((graded,), found.to(total.dtype))
        for column, level in self.coarse.items():
            rows = waiting & is_known(readings[:, column])
            marginal = self.hierarchy.log_marginal(log_p[rows], self.hierarchy.finest, level)
            found = F.nll_loss(marginal, readings[rows, column], reduction="none")
            total, waiting = total.index_put((rows,), found.to(total.dtype)), waiting & ~rows
        return total
