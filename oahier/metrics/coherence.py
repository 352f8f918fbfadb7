"""Metrics of the hierarchy: how far a coarse and a fine head agree with each other. They need no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.metrics.weighted import Floats, Weights, weighted_mean


@dataclass(frozen=True, eq=False)
class LevelRows:
    """What a coarse and a fine head say about the same knees."""

    coarse: Floats
    """``(rows,)`` probability of class 1 of two, such as OA, or ``(rows, coarse classes)``."""
    fine: Floats
    """``(rows, grades)``."""
    parents: Sequence[int] = DEFAULT_HIERARCHY.parents(FINE, COARSE)
    """Coarse class of every grade; OA of KL grades when not given."""

    def __len__(self) -> int:
        return len(self.coarse)

    @property
    def defined(self) -> bool:
        """False without rows, or where a probability is not finite."""
        return len(self) > 0 and bool(np.isfinite(self.coarse).all() and np.isfinite(self.fine).all())

    @property
    def implied(self) -> Floats:
        """What the grades imply for the coarse level, of the shape of :attr:`coarse`."""
        parents = np.asarray(self.parents)
        if self.coarse.ndim == 1:
            return np.asarray(self.fine[:, parents == 1].sum(axis=1))
        classes = range(self.coarse.shape[1])
        return np.stack([self.fine[:, parents == one].sum(axis=1) for one in classes], axis=1)


def agreement(weights: Weights, rows: LevelRows) -> Floats:
    """Share of knees whose OA decision (P >= 0.5) is that of the most probable grade.

    Of more than two coarse classes the decision is the most probable one.
    """
    coarse = rows.coarse >= 0.5 if rows.coarse.ndim == 1 else rows.coarse.argmax(axis=1)
    return weighted_mean(weights, coarse == np.asarray(rows.parents)[rows.fine.argmax(axis=1)])


def probability_gap(weights: Weights, rows: LevelRows) -> Floats:
    """Mean absolute difference of P(OA) and the sum of the probabilities of the grades that are OA.

    Of more than two coarse classes half the sum of the differences (total variation), as of two.
    """
    gap = np.abs(rows.coarse - rows.implied)
    return weighted_mean(weights, gap if gap.ndim == 1 else gap.sum(axis=1) / 2)
