"""Shortcuts that can be planted in phantoms: marks of the acquisition that go with the label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from oahier.phantom.anatomy import Scan


class Shortcut(ABC):
    """Changes an acquired image; a dataclass, so that its parameters are kept beside the phantoms."""

    @abstractmethod
    def __call__(self, mri: Float32[np.ndarray, "i j k"], scan: Scan) -> Float32[np.ndarray, "i j k"]:
        """The image with the mark, a new array on the same grid."""


@dataclass(frozen=True)
class CornerMark(Shortcut):
    """A bright block in the right, posterior, inferior corner, as burnt-in text is."""

    size: float = 0.12
    """Share of each axis."""
    signal: float = 1.0
    """Relative to fluid."""

    def __call__(self, mri: Float32[np.ndarray, "i j k"], scan: Scan) -> Float32[np.ndarray, "i j k"]:
        marked = mri.copy()
        i, j, k = (max(1, round(self.size * axis)) for axis in mri.shape)
        marked[-i:, :j, :k] = self.signal * scan.gain
        return marked


@dataclass(frozen=True)
class CoilGain(Shortcut):
    """A gain that rises from the inferior to the superior end, as with another coil; noise rises with it.

    A gain of the whole volume would not outlive z-scores.
    """

    change: float = 0.5
    """Logarithm of the gain from one end to the other."""

    def __call__(self, mri: Float32[np.ndarray, "i j k"], scan: Scan) -> Float32[np.ndarray, "i j k"]:
        ramp = np.linspace(-self.change / 2, self.change / 2, mri.shape[2], dtype=np.float32)
        return np.asarray(mri * np.exp(ramp))


@dataclass(frozen=True)
class NarrowField(Shortcut):
    """A field of view that ends before the volume does: the outermost slices along each axis are empty."""

    margin: float = 0.06
    """Share of each axis that is empty at either end."""

    def __call__(self, mri: Float32[np.ndarray, "i j k"], scan: Scan) -> Float32[np.ndarray, "i j k"]:
        empty = np.zeros_like(mri)
        inner = tuple(
            slice(cut, size - cut)
            for size, cut in ((size, max(1, round(self.margin * size))) for size in mri.shape)
        )
        empty[inner] = mri[inner]
        return empty
