"""Columns of the saliency table of each knee, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from oahier.callbacks.regions import Region
from oahier.gathering import EpochTable
from oahier.saliency import mass_in_other_masks, peak_distance, region_areas, region_overlap, resample
from oahier.statistics import summarise_values

_LARGEST_GRID = 32_768
"""Cells on which maps are kept over an epoch for the masks of other knees; larger maps are averaged."""
_KEPT_FOR_CONTROL = ("shape", "map", "footprint")
FLOORS = {
    "the image itself": "enrichment_of_image",
    "random weights": "enrichment_randomised",
    "other knees' cartilage": "enrichment_in_other_cartilage",
}
"""What an enrichment must exceed, beside chance, before it says anything; by column."""


class SaliencyColumns:
    """Turns maps and regions of a batch into columns of a table, one row a knee."""

    def __init__(self) -> None:
        self._grid: tuple[int, ...] = ()

    def control_grid(self, grid: Sequence[int]) -> tuple[int, ...] | None:
        """Grid of the control for maps of this grid; ``None`` unless it is that of the first batch."""
        factor = math.ceil(max(1.0, math.prod(grid) / _LARGEST_GRID) ** (1 / 3))
        control = tuple(-(-cells // factor) for cells in grid)
        self._grid = self._grid or control
        return control if control == self._grid else None

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

    def floors(
        self, image: Tensor, drawn: Tensor | None, regions: Sequence[Region], shape: Sequence[int]
    ) -> dict[str, Tensor]:
        """Columns of the positive voxels of the image and of the maps of a network with random weights."""
        indices = [region.indices for region in regions]
        values = {"of_image": image.relu()}
        if drawn is not None:
            values["randomised"] = resample(_relative_to_peak(drawn)[1], shape)
        columns: dict[str, Tensor] = {}
        for name, volume in values.items():
            overlap = region_overlap(volume.flatten(1), indices, top_percent=())
            names = ("iou", "mass_in_cartilage", "enrichment")
            columns |= {f"{measure}_{name}": overlap[measure] for measure in names}
        return columns

    @staticmethod
    def ranks(volume: Tensor, regions: Sequence[Region], spacing: Tensor) -> dict[str, Tensor]:
        """Columns that need the order of all voxels, or the place of the peak: too slow for every epoch."""
        masks = torch.stack([region.mask(volume.shape[1:]) for region in regions])
        areas = region_areas(volume.flatten(1), [region.indices for region in regions])
        return {**areas, "peak_mm": peak_distance(volume, masks, spacing)}

    def _for_control(
        self, unit: Tensor, regions: Sequence[Region], shape: Sequence[int]
    ) -> dict[str, Tensor]:
        """What the shuffled-mask control needs; NaN for a grid unlike that of other batches."""
        shapes = torch.tensor(tuple(shape), device=unit.device).expand(len(unit), 3)
        footprints = [region.footprint for region in regions if region.footprint is not None]
        control = self.control_grid(unit.shape[1:])
        if control is None:
            kept = torch.full((len(unit), *self._grid), math.nan, device=unit.device)
        else:
            i, j, k = control
            kept = adaptive_avg_pool3d(unit[:, None], (i, j, k))[:, 0]  # the same where the grid is small
        seen = torch.stack(footprints) if len(footprints) == len(regions) else torch.full_like(kept, math.nan)
        return dict(zip(_KEPT_FOR_CONTROL, (shapes, kept, seen), strict=True))


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
    """Means over the knees for which a metric is defined, and how many knees there are of either kind."""
    values = {
        name: float(np.nanmean(column)) if bool((~column.isnan()).any()) else math.nan
        for name, column in columns.items()
        if name != "peak"
    }
    values["knees"] = float((~columns["mass_in_cartilage"].isnan()).sum())
    values["zero_maps"] = float((columns["peak"] == 0).sum())
    return values


def verdict(columns: Mapping[str, Tensor], subjects: Sequence[str]) -> str:
    """Enrichment with its interval over subjects, its floors, and whether it is above the highest of them.

    The floors are those that were computed and chance. Above means that the interval of the difference from
    the highest floor, knee by knee, is above zero.
    """
    enrichment = columns["enrichment"]
    floors = {"chance": torch.ones_like(enrichment)}
    floors |= {name: columns[column] for name, column in FLOORS.items() if column in columns}
    means = {name: float(column.nanmean()) for name, column in floors.items() if not column.isnan().all()}
    highest = max(means, key=lambda name: means[name])
    difference = enrichment - floors[highest]
    if len({subject for subject, x in zip(subjects, difference.tolist(), strict=True) if x == x}) < 2:
        return "enrichment in the cartilage: not known, too few subjects have a map and a mask"
    value = summarise_values(enrichment.double().numpy()[None], subjects, scale="log")
    lead = summarise_values(difference.double().numpy()[None], subjects)
    above = "above" if lead.ci_low > 0 else "NOT above"
    told = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items())
    return (
        f"enrichment {value.value:.2f} [{value.ci_low:.2f}, {value.ci_high:.2f}], {above} its highest floor "
        f"({told})"
    )


def _relative_to_peak(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of each map, and maps over it in float32; metrics do not depend on the scale."""
    peak = maps.flatten(1).amax(dim=1)
    return peak, (maps / torch.where(peak > 0, peak, 1.0).view(-1, 1, 1, 1)).float()
