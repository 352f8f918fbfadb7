"""Hierarchy-aware cross-entropy (HACE)."""

from __future__ import annotations

from torch.nn import functional as F

from oahier.hierarchy import DEFAULT_HIERARCHY, Hierarchy
from oahier.losses.criterion import Criterion
from oahier.types import Labels, LogProbabilities, RowLosses


class HierarchicalCrossEntropy(Criterion):
    r"""Cross-entropy at every level, of sums of probabilities: :math:`-\sum_{l,c} w_l q_{lc} \log p_{lc}`.

    Chan, D'Ascenzo & Cultrera di Montesano 2026, arXiv:2605.06274: aggregation (:math:`p_{lc}` sums the
    grades below class :math:`c`), smoothing over the grades (:math:`\epsilon`), then ancestral smoothing (the
    label goes up with weights :math:`w_l = d (1-d)^l`, the rest to the coarsest level). Taken from the
    abstract and the authors' published loss and matrices, without their 1e-6 inside the logarithm.

    Args:
        dilution: share :math:`d` of the label that stays at each level.
        label_smoothing: :math:`\epsilon`, spread over the other grades.
        hierarchy: levels; OA above KL grades when not given. The head must be of the finest.

    Raises:
        ValueError: a share outside (0, 1], a smoothing outside [0, 1), a head of another number of classes.
    """

    def __init__(
        self, dilution: float = 0.7, label_smoothing: float = 0.0, *, hierarchy: Hierarchy | None = None
    ) -> None:
        super().__init__()
        if not (0 < dilution <= 1 and 0 <= label_smoothing < 1):
            raise ValueError(
                "HierarchicalCrossEntropy: expected a dilution in (0, 1] and a label_smoothing in [0, 1), "
                f"got {dilution} and {label_smoothing}"
            )
        self.dilution, self.label_smoothing = dilution, label_smoothing
        self.hierarchy = hierarchy or DEFAULT_HIERARCHY

    def build(self, num_classes: int) -> None:
        expected = self.hierarchy.num_classes(self.hierarchy.finest)
        if num_classes != expected:
            raise ValueError(
                f"HierarchicalCrossEntropy: expected a head of the {expected} classes of "
                f"{self.hierarchy.finest!r}, got {num_classes}; give its hierarchy or another criterion"
            )

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        q = F.one_hot(labels, scores.shape[1]).to(scores.dtype)
        spread = self.label_smoothing / (scores.shape[1] - 1)
        q = q * (1 - self.label_smoothing - spread) + spread
        coarser = self.hierarchy.levels[1:]
        total, left = -self.dilution * (q * scores).sum(dim=1), 1 - self.dilution
        for level in coarser:
            weight = left if level == coarser[-1] else left * self.dilution
            share = self.hierarchy.marginal(q, self.hierarchy.finest, level)
            coarse = self.hierarchy.log_marginal(scores, self.hierarchy.finest, level)
            total, left = total - weight * (share * coarse).sum(dim=1), left - weight
        return total
