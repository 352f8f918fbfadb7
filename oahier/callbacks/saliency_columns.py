"""What is measured of the saliency of each knee."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from oahier.gathering import EpochTable
from oahier.saliency import (
    dilate,
    iou_bound,
    mask_footprint,
    mass_in_other_masks,
    resample,
    saliency_overlap,
)

_LARGEST_GRID = 32_768
"""Cells of a feature grid up to which maps are kept over an epoch for the shuffled-mask control.

What the control needs of a mask is kept as long as the callback, since masks do not change."""
_KEPT_FOR_CONTROL = ("shape", "map", "footprint")
_Key = tuple[object, ...]
T = TypeVar("T")


class SaliencyColumns:
    """Turns maps and label maps of a batch into columns of a table, one row a knee.

    Args:
        labels: ids that count as cartilage.
        dilation: millimetres by which the cartilage is grown.
    """

    def __init__(self, labels: Sequence[int], dilation: float) -> None:
        self.labels, self.dilation = tuple(labels), dilation
        self._bounds: dict[_Key, float] = {}
        self._footprints: dict[_Key, Tensor] = {}
        self._grid: tuple[int, ...] = ()

    def cartilage(self, batch: Mapping[str, Any]) -> Tensor:
        """``(batch, i, j, k)`` boolean; empty for a knee without a label map."""
        mri: Tensor = batch["mri"]
        ids = batch["cartilage"][:, 0] if "cartilage" in batch else None
        inside = torch.zeros((len(mri), *mri.shape[2:]), dtype=torch.bool, device=mri.device)
        for label in self.labels if ids is not None else ():
            inside |= ids == label
        if self.dilation > 0:
            spacing = batch["affine"][:, :3, :3].norm(dim=1)
            inside = dilate(inside, spacing.cpu(), self.dilation)
        return inside

    def measure(
        self, maps: Tensor, cartilage: Tensor, knees: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps ``(batch, *grid)`` at the size of the volume, relative to their peaks, and their columns."""
        peak, unit = _relative_to_peak(maps)
        volume = resample(unit, cartilage.shape[1:])
        columns = saliency_overlap(volume, cartilage)
        share = columns["cartilage_share"]
        keys: list[_Key] = [
            (knee, *cartilage.shape[1:], *unit.shape[1:], size)
            for knee, size in zip(knees, share.nan_to_num().tolist(), strict=True)
        ]
        columns["iou_bound"] = self._bound(cartilage, share, unit.shape[1:], keys)
        columns["peak"] = peak.double()
        return volume, columns | self._for_control(unit, cartilage, keys)

    def randomised(self, maps: Tensor, cartilage: Tensor) -> dict[str, Tensor]:
        """Columns of maps of a model with random weights."""
        volume = resample(_relative_to_peak(maps)[1], cartilage.shape[1:])
        overlap = saliency_overlap(volume, cartilage, top_percent=())
        return {f"{name}_randomised": overlap[name] for name in ("iou", "mass_in_cartilage", "enrichment")}

    def _bound(self, cartilage: Tensor, share: Tensor, grid: Sequence[int], keys: Sequence[_Key]) -> Tensor:
        """The bound depends on the mask and the grid alone: computed when a knee is first seen."""
        bounds = _kept(self._bounds, keys, lambda new: iou_bound(cartilage[new], grid).tolist())
        return torch.tensor(bounds, dtype=share.dtype, device=share.device)

    def _for_control(self, unit: Tensor, cartilage: Tensor, keys: Sequence[_Key]) -> dict[str, Tensor]:
        """What the shuffled-mask control needs; NaN for a large grid, or one unlike that of other batches."""
        grid = tuple(unit.shape[1:])
        self._grid = self._grid or (grid if math.prod(grid) <= _LARGEST_GRID else (1, 1, 1))
        shape = torch.tensor(cartilage.shape[1:], device=unit.device).expand(len(unit), 3)
        if grid != self._grid:
            unit = torch.full((len(unit), *self._grid), math.nan, device=unit.device)
            return dict(zip(_KEPT_FOR_CONTROL, (shape, unit, unit), strict=True))
        footprints = _kept(self._footprints, keys, lambda new: mask_footprint(cartilage[new], grid))
        return dict(zip(_KEPT_FOR_CONTROL, (shape, unit, torch.stack(footprints)), strict=True))


def _kept(known: dict[_Key, T], keys: Sequence[_Key], compute: Callable[[list[int]], Iterable[T]]) -> list[T]:
    """Values by key; those that are new are computed, from the rows where they stand."""
    new = [row for row, key in enumerate(keys) if key not in known]
    if new:
        known.update(zip((keys[row] for row in new), compute(new), strict=True))
    return [known[key] for key in keys]


def with_other_masks(table: EpochTable) -> dict[str, Tensor]:
    """The columns to report of an epoch, with those of the shuffled-mask control."""
    columns = {name: table[name] for name in table if name not in _KEPT_FOR_CONTROL}
    shape = table["shape"][0]
    usable = (table["shape"] == shape).all(dim=1) & ~columns["cartilage_share"].isnan()
    share = torch.where(usable, columns["cartilage_share"], 0.0)
    mass, enrichment = mass_in_other_masks(table["map"], table["footprint"], share, shape.tolist())
    columns["mass_in_other_cartilage"] = mass.masked_fill(~usable, math.nan)
    columns["enrichment_in_other_cartilage"] = enrichment.masked_fill(~usable, math.nan)
    return columns


def summary(columns: Mapping[str, Tensor]) -> dict[str, float]:
    """Means over the knees for which a measure is defined, and how many knees there are of either kind."""
    values = {
        name: float(np.nanmean(column)) if bool((~column.isnan()).any()) else math.nan
        for name, column in columns.items()
        if name != "peak"
    }
    values["knees"] = float((~columns["mass_in_cartilage"].isnan()).sum())
    values["zero_maps"] = float((columns["peak"] == 0).sum())
    return values


def _relative_to_peak(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of each map, and maps over it in float32; measures do not depend on the scale."""
    peak = maps.flatten(1).amax(dim=1)
    return peak, (maps / torch.where(peak > 0, peak, 1.0).view(-1, 1, 1, 1)).float()
