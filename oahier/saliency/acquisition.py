"""Changes of the acquisition that a score should not depend on, and how far it moves with each of them.

A map of saliency has no place for a cause that has none, as a gain or a field of view, and misses some
marks. The change itself can be made in knees that were held out: a score that moves with it depends on it.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from oahier.progress import steps

Axis = Literal[0, 1, 2]
_AXES = ("right", "anterior", "superior")


class AcquisitionChange(ABC):
    """Makes other scans of the same knees: ``change(volumes)`` is ``(batch, 1, i, j, k)`` again.

    The result has the mean and the standard deviation of the volume, as z-scores of the changed scan have.
    """

    name: str

    @abstractmethod
    def of_scan(self, scan: Tensor) -> Tensor:
        """The change of intensities ``(batch, 1, i, j, k)`` of at least zero, background being near zero."""

    def __call__(self, volumes: Tensor) -> Tensor:
        voxels = (1, 2, 3, 4)
        changed = self.of_scan(volumes - volumes.amin(dim=voxels, keepdim=True))
        spread, mean = torch.std_mean(volumes, dim=voxels, keepdim=True)
        new_spread, new_mean = torch.std_mean(changed, dim=voxels, keepdim=True)
        return (changed - new_mean) / new_spread.clamp_min(1e-6) * spread + mean

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class CornerBlock(AcquisitionChange):
    """A bright block in one corner, as burnt-in text is."""

    high: tuple[bool, bool, bool]
    """Whether it lies at the right, anterior, superior end of each axis (the ends of RAS axes)."""
    size: float = 0.12
    """Share of each axis."""

    @property
    def name(self) -> str:  # type: ignore[override]
        ends = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
        return "mark " + " ".join(pair[end] for pair, end in zip(ends, self.high, strict=True))

    @override
    def of_scan(self, scan: Tensor) -> Tensor:
        marked = scan.clone()
        where = []
        for high, length in zip(self.high, scan.shape[2:], strict=True):
            width = max(1, round(self.size * length))
            where.append(slice(length - width, length) if high else slice(0, width))
        marked[:, :, where[0], where[1], where[2]] = scan.amax(dim=(1, 2, 3, 4), keepdim=True)
        return marked


@dataclass(frozen=True)
class GainRamp(AcquisitionChange):
    """A gain that rises, or falls, along one axis, as with another coil."""

    axis: Axis
    change: float
    """Logarithm of the gain from the low end of the axis to the other."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"gain {'rises' if self.change > 0 else 'falls'} to {_AXES[self.axis]}"

    @override
    def of_scan(self, scan: Tensor) -> Tensor:
        ramp = torch.linspace(-self.change / 2, self.change / 2, scan.shape[2 + self.axis]).to(scan)
        return scan * ramp.exp().view([-1 if axis == 2 + self.axis else 1 for axis in range(5)])


@dataclass(frozen=True)
class SmallerField(AcquisitionChange):
    """A field of view that ends before the volume does: the outermost slices are empty."""

    margin: float = 0.06
    """Share of each axis that is empty at either end."""

    name = "smaller field of view"

    @override
    def of_scan(self, scan: Tensor) -> Tensor:
        inner = [
            slice(cut, length - cut)
            for length, cut in ((length, max(1, round(self.margin * length))) for length in scan.shape[2:])
        ]
        empty = torch.zeros_like(scan)
        empty[:, :, inner[0], inner[1], inner[2]] = scan[:, :, inner[0], inner[1], inner[2]]
        return empty


def acquisition_changes() -> list[AcquisitionChange]:
    """A mark in each corner, a gain along each axis either way, a smaller field of view: 15 of them."""
    ends = (False, True)
    corners = [CornerBlock(high) for high in itertools.product(ends, ends, ends)]
    axes: tuple[Axis, ...] = (0, 1, 2)
    ramps = [GainRamp(axis, change) for axis in axes for change in (0.5, -0.5)]
    return [*corners, *ramps, SmallerField()]


@torch.no_grad()
def score_shifts(
    score: Callable[[Tensor], Tensor], volumes: Tensor, changes: Sequence[AcquisitionChange]
) -> dict[str, Tensor]:
    """How far the score of each knee moves with each change, one forward pass each.

    Args:
        score: volumes ``(batch, 1, i, j, k)`` to numbers ``(batch,)``, such as
            :meth:`oahier.saliency.ExplainedKnees.of_volume`.
        volumes: held-out knees, preprocessed.
        changes: what is done to them.

    Returns:
        By name, ``(batch,)`` the score after the change less that before it.

    >>> volumes = torch.rand(2, 1, 8, 8, 8)
    >>> right = CornerBlock((True, False, False))
    >>> found = score_shifts(lambda volumes: volumes[:, 0, -1, 0, 0], volumes, [right])
    >>> {name: bool((moved > 0).all()) for name, moved in found.items()}
    {'mark right posterior inferior': True}
    """
    before = score(volumes)
    return {change.name: score(change(volumes)) - before for change in steps(changes)}
