"""Columns of the saliency table of each knee."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from oahier.callbacks.regions import Region
from oahier.gathering import EpochTable
from oahier.saliency import mass_in_other_masks, region_overlap, resample

_LARGEST_GRID = 32_768
"""Cells of a feature grid up to which maps are kept over an epoch for the shuffled-mask control."""
_KEPT_FOR_CONTROL = ("shape", "map", "footprint")


class SaliencyColumns:
    """Turns maps and regions of a batch into columns of a table, one row a knee."""

    def __init__(self) -> None:
        self._grid: tuple[int, ...] = ()

    def has_control(self, grid: Sequence[int]) -> bool:
        """Whether maps of this grid take part in the shuffled-mask control: all of one that is not large."""
        self._grid = self._grid or (tuple(grid) if math.prod(grid) <= _LARGEST_GRID else (1, 1, 1))
        return tuple(grid) == self._grid

    def measure(
        self, maps: Tensor, regions: Sequence[Region], shape: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps ``(batch, *grid)`` at the size of the volume, relative to their peaks, and their columns."""
        peak, unit = _relative_to_peak(maps)
        volume = resample(unit, shape)
        columns = region_overlap(volume.flatten(1), [region.indices for region in regions])
        share = columns["cartilage_share"]
        columns["iou_bound"] = share.new_tensor([region.bound for region in regions])
        columns["peak"] = peak.double()
        return volume, columns | self._for_control(unit, regions, shape)

    def randomised(self, maps: Tensor, regions: Sequence[Region], shape: Sequence[int]) -> dict[str, Tensor]:
        """Columns of maps of a model with random weights."""
        volume = resample(_relative_to_peak(maps)[1], shape)
        overlap = region_overlap(volume.flatten(1), [region.indices for region in regions], top_percent=())
        return {f"{name}_randomised": overlap[name] for name in ("iou", "mass_in_cartilage", "enrichment")}

    def _for_control(
        self, unit: Tensor, regions: Sequence[Region], shape: Sequence[int]
    ) -> dict[str, Tensor]:
        """What the shuffled-mask control needs; NaN for a large grid, or one unlike that of other batches."""
        shapes = torch.tensor(tuple(shape), device=unit.device).expand(len(unit), 3)
        footprints = [region.footprint for region in regions if region.footprint is not None]
        if not self.has_control(unit.shape[1:]):
            unit = torch.full((len(unit), *self._grid), math.nan, device=unit.device)
        seen = torch.stack(footprints) if len(footprints) == len(regions) else torch.full_like(unit, math.nan)
        return dict(zip(_KEPT_FOR_CONTROL, (shapes, unit, seen), strict=True))


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
