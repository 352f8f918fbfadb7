"""Cartilage of each knee as indices of voxels, kept between epochs because masks do not change."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from oahier.saliency import dilate, iou_bound, mask_footprint

_log = logging.getLogger("oahier.cartilage_saliency")
_STRIDE = 13
_Key = tuple[object, ...]

KEPT_BYTES = 256 * 2**20
"""Memory for the regions that one callback keeps; those of further knees are made anew in each epoch."""


@dataclass(frozen=True)
class Region:
    """A knee's mask on one grid of feature maps."""

    indices: Tensor
    """``(voxels,)`` int32 into the flattened volume."""
    bound: float
    """See :func:`oahier.saliency.iou_bound`."""
    footprint: Tensor | None
    """``(a, b, c)``, see :func:`oahier.saliency.mask_footprint`; ``None`` for a grid without one."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.indices.nbytes + (0 if self.footprint is None else self.footprint.nbytes)

    def mask(self, shape: Sequence[int]) -> Tensor:
        """``(i, j, k)`` boolean."""
        flat = torch.zeros(int(torch.Size(shape).numel()), dtype=torch.bool, device=self.indices.device)
        flat[self.indices] = True
        return flat.view(*shape)


class Regions:
    """Makes the regions of batches, or finds them again by knee, grid and a checksum of the label map.

    Args:
        labels: ids of the label map that count as cartilage.
        dilation: millimetres by which the cartilage is grown.
        limit: bytes to keep at most.
    """

    def __init__(self, labels: Sequence[int], dilation: float, limit: int = KEPT_BYTES) -> None:
        self.labels, self.dilation, self.limit = tuple(labels), dilation, limit
        self.clear()

    def clear(self) -> None:
        """Forget everything, as at the start of a run on other data."""
        self._kept: dict[_Key, Region] = {}
        self.nbytes = 0
        self._told = False

    def __call__(
        self,
        batch: Mapping[str, Any],
        knees: Sequence[str],
        grid: Sequence[int],
        control: Sequence[int] | None,
    ) -> list[Region]:
        """The region of each knee of a batch, empty for a knee without a label map.

        Args:
            batch: with ``mri``, ``affine`` and, where there is any, ``cartilage``.
            knees: ids.
            grid: of the feature maps.
            control: grid of the footprints, or ``None`` for none.
        """
        labels = batch["cartilage"][:, 0] if "cartilage" in batch else None
        found: list[Region] = []
        for row, knee in enumerate(knees):
            if labels is None:
                mask = torch.zeros(batch["mri"].shape[2:], dtype=torch.bool, device=batch["mri"].device)
                found.append(_region(mask, grid, control))
                continue
            key: _Key = (knee, *labels.shape[1:], *grid, control and tuple(control), _checksum(labels[row]))
            region = self._kept.get(key)
            if region is None:
                region = _region(self._mask(labels[row], batch["affine"][row]), grid, control)
                self._keep(key, region)
            found.append(region)
        return found

    def _mask(self, labels: Tensor, affine: Tensor) -> Tensor:
        inside = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
        for label in self.labels:
            inside |= labels == label
        if self.dilation > 0:
            spacing = affine[:3, :3].double().norm(dim=0)
            inside = dilate(inside[None], spacing[None].cpu(), self.dilation)[0]
        return inside

    def _keep(self, key: _Key, region: Region) -> None:
        if self.nbytes + region.nbytes <= self.limit:
            self._kept[key] = region
            self.nbytes += region.nbytes
        elif not self._told:
            self._told = True
            _log.info(
                "CartilageSaliency keeps the cartilage of %d knees in %.0f MiB of memory; that of further "
                "knees is made anew in each epoch", len(self._kept), self.nbytes / 2**20,
            )  # fmt: skip


def _region(mask: Tensor, grid: Sequence[int], control: Sequence[int] | None) -> Region:
    indices = mask.flatten().nonzero()[:, 0].int()
    bound = float(iou_bound(mask[None], grid)[0])
    return Region(indices, bound, None if control is None else mask_footprint(mask[None], control)[0])


def _checksum(labels: Tensor) -> float:
    """A number that changes with the label map: a weighted sum of every thirteenth voxel."""
    sample = labels.flatten()[::_STRIDE].float()
    weights = torch.arange(1, len(sample) + 1, device=sample.device, dtype=torch.float32).remainder_(251)
    return float(sample @ weights)
