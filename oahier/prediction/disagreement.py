"""Warnings where heads of two levels contradict each other on one knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch

from oahier.clinical.decisions import HALF
from oahier.hierarchy import Hierarchy, head_label


def disagreements(
    hierarchy: Hierarchy,
    heads: Mapping[str, tuple[Sequence[float], int]],
    thresholds: Mapping[str, float] | None = None,
) -> list[str]:
    """One sentence for each pair of levels whose coarser class is not what the finer one implies.

    Args:
        hierarchy: the levels.
        heads: probabilities of all classes and the decision of each level's head, by level.
        thresholds: of levels of two classes, where it is not 0.5.

    >>> grades = Hierarchy("kl", {"oa": (0, 0, 1, 1, 1)})
    >>> disagreements(grades, {"kl": ([0.1, 0.3, 0.4, 0.1, 0.1], 2), "oa": ([0.7, 0.3], 0)})
    ['the heads disagree: P(KL ≥ 2) = 0.60 but P(OA) = 0.30']
    >>> disagreements(grades, {"kl": ([0.1, 0.3, 0.4, 0.1, 0.1], 2), "oa": ([0.4, 0.6], 0)}, {"oa": 0.7})
    ['the heads disagree: P(KL ≥ 2) = 0.60 but P(OA) = 0.60 (threshold 0.7)']
    """
    found = []
    for fine, coarse in combinations([level for level in hierarchy.levels if level in heads], 2):
        (grades, _), (stated, decision) = heads[fine], heads[coarse]
        implied = hierarchy.marginal(torch.tensor([grades], dtype=torch.float64), fine, coarse)[0].tolist()
        likely = int(implied[1] >= 0.5) if len(implied) == 2 else implied.index(max(implied))
        if likely == decision:
            continue
        cut, above, below = hierarchy.threshold(fine, coarse), head_label(fine), head_label(coarse)
        own = (thresholds or {}).get(coarse, HALF)
        what = (
            f"P({above} ≥ {cut}) = {implied[1]:.2f} but P({below}) = {stated[1]:.2f}"
            + f" (threshold {own:.3g})" * (own != HALF)
            if cut is not None
            else f"P({below} = {decision}) = {stated[decision]:.2f}, but the classes of {above} imply "
            f"{implied[decision]:.2f}, and {implied[likely]:.2f} for {below} = {likely}"
        )
        found.append(f"the heads disagree: {what}")
    return found
