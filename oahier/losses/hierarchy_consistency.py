"""Term by which a coarse head and a fine head say the same."""

from __future__ import annotations

from collections.abc import Sequence

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE, Hierarchy
from oahier.losses.terms import Term
from oahier.types import Scalar, Step

_LEAST = -100.0
"""Logarithm of the smallest probability that counts; its product with itself is finite."""


class HierarchyConsistency(Term):
    r"""Divergence of the coarse head from the sums of the fine head's probabilities, mean over knees.

    :math:`\sum_c p_c \log (p_c / \sum_{k \in c} q_k)` with :math:`p` of the coarse and :math:`q` of the fine
    head ``(batch, classes)``: the Kullback-Leibler divergence, 0 where the levels agree. It needs no labels,
    and both heads learn from it.

    Args:
        coarse, fine: names of the heads.
        parents: coarse class of each fine one; those of KL grades when not given.
    """

    def __init__(self, coarse: str = COARSE, fine: str = FINE, parents: Sequence[int] | None = None) -> None:
        super().__init__()
        self.heads, self.supervises = (coarse, fine), (coarse, fine)
        classes = DEFAULT_HIERARCHY.parents(FINE, COARSE) if parents is None else tuple(parents)
        self.hierarchy = Hierarchy("fine", {"coarse": classes})

    def forward(self, step: Step) -> Scalar:
        known = step["log_probabilities"]
        if not set(self.heads) <= set(known):
            raise ValueError(f"HierarchyConsistency: expected heads {self.heads}, got {sorted(known)}")
        p, q = (known[name] for name in self.heads)
        q = self.hierarchy.log_marginal(q, "fine", "coarse")
        return (p.exp() * (p.clamp(min=_LEAST) - q.clamp(min=_LEAST))).sum(dim=1).mean()
