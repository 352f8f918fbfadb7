"""Patterns of readings, counted: what an estimate over readers needs to know of a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from oahier.noise.matrices import same_block
from oahier.types import MISSING


@dataclass(frozen=True, eq=False)
class Patterns:
    """Distinct rows of readings."""

    readings: Int64[np.ndarray, "patterns readers"]
    """``MISSING`` where there is none."""
    possible: Bool[np.ndarray, "patterns classes"]
    """Classes that the truth may be of: known, or in the block of the readings."""
    pattern: Int64[np.ndarray, " knees"]
    """Index of each knee's pattern."""

    def weights(
        self, knees: Float64[np.ndarray, "resamples knees"]
    ) -> Float64[np.ndarray, "resamples patterns"]:
        """Sums of the weights of knees."""
        made = np.zeros((len(knees), len(self.readings)))
        for row, weights in zip(made, knees, strict=True):
            row += np.bincount(self.pattern, weights, minlength=len(row))
        return made


def patterns_of(
    readings: Int64[np.ndarray, "knees readers"],
    truth: Int64[np.ndarray, " knees"],
    num_classes: int,
    blocks: Sequence[int] | None,
) -> Patterns:
    """Find the patterns of checked readings.

    Raises:
        ValueError: readings outside the classes, or in different blocks (the first such knee is named).
    """
    both = np.column_stack([readings, truth])
    if both.size and (both.min() < MISSING or both.max() >= num_classes):
        raise ValueError(
            f"readings: expected classes 0..{num_classes - 1} or {MISSING}, got {np.unique(both).tolist()}"
        )
    rows, pattern = np.unique(both, axis=0, return_inverse=True)
    inside = same_block(blocks, num_classes)
    possible = np.ones((len(rows), num_classes), dtype=bool)
    for column in rows.T:
        possible &= np.where((column == MISSING)[:, None], True, inside[column.clip(min=0)])
    exact = rows[:, -1:] == np.arange(num_classes)
    possible &= np.where(rows[:, -1:] == MISSING, True, exact)
    fits = np.asarray(possible.any(axis=1))
    impossible = np.flatnonzero(~fits[pattern.ravel()])
    if len(impossible):
        raise ValueError(
            f"{len(impossible)} knees have readings in different blocks, the first in row {impossible[0]} "
            f"({both[impossible[0]].tolist()}); correct them or estimate without blocks"
        )
    return Patterns(rows[:, :-1], possible, pattern.ravel())
