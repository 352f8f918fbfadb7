"""Geometry of an image: shape and affine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Affine = Float64[np.ndarray, "4 4"]
"""Voxel indices to millimetres, counted towards right, anterior, superior."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: ``affine`` maps voxel indices to millimetres (RAS+).

    >>> print(Grid((160, 384, 384), np.diag([0.7, 0.365, 0.365, 1.0])))
    160x384x384 voxels of 0.700x0.365x0.365 mm from (0.00, 0.00, 0.00)
    """

    shape: tuple[int, ...]
    affine: Affine

    def __str__(self) -> str:
        spacing = "x".join(f"{length:.3f}" for length in self.spacing)
        origin = ", ".join(f"{value:.2f}" for value in self.affine[:3, 3])
        return f"{'x'.join(map(str, self.shape))} voxels of {spacing} mm from ({origin})"

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel along i, j, k."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def extent(self) -> tuple[float, ...]:
        """Millimetres from edge to edge along i, j, k."""
        return tuple(count * length for count, length in zip(self.shape, self.spacing, strict=True))

    def same_as(self, other: Grid, tolerance: float = 0.1) -> bool:
        """True if shapes are equal and no corner is off by more than ``tolerance`` voxels."""
        if self.shape != other.shape:
            return False
        corners = np.array(
            np.meshgrid(*[(0, count - 1) for count in self.shape], [1], indexing="ij")
        ).reshape(4, -1)
        off = np.linalg.norm(((self.affine - other.affine) @ corners)[:3], axis=0).max()
        return bool(off <= tolerance * min(self.spacing))
