"""Metrics of the hierarchy: how far a coarse and a fine head agree with each other. They need no labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oahier.hierarchy import OA_FROM_GRADE
from oahier.metrics.weighted import Floats, Weights, weighted_mean


@dataclass(frozen=True, eq=False)
class LevelRows:
    """What a coarse and a fine head say about the same knees."""

    coarse: Floats
    """``(rows,)`` probability of OA."""
    fine: Floats
    """``(rows, grades)``."""

    def __len__(self) -> int:
        return len(self.coarse)

    @property
    def defined(self) -> bool:
        """False without rows, or where a probability is not finite."""
        return len(self) > 0 and bool(np.isfinite(self.coarse).all() and np.isfinite(self.fine).all())

    @property
    def implied(self) -> Floats:
        """``(rows,)`` probability of OA that the grades imply."""
        return np.asarray(self.fine[:, OA_FROM_GRADE:].sum(axis=1))


def agreement(weights: Weights, rows: LevelRows) -> Floats:
    """Share of knees whose OA decision (P >= 0.5) is that of the most probable grade."""
    same = (rows.coarse >= 0.5) == (rows.fine.argmax(axis=1) >= OA_FROM_GRADE)
    return weighted_mean(weights, same)


def probability_gap(weights: Weights, rows: LevelRows) -> Floats:
    """Mean absolute difference of P(OA) and the sum of the probabilities of the grades that are OA."""
    return weighted_mean(weights, np.abs(rows.coarse - rows.implied))
