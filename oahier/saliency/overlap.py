"""How well a saliency map agrees with a region, a batch of knees at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from oahier.saliency.interpolation import resample

if TYPE_CHECKING:
    import numpy.typing as npt

TOP_PERCENT = (1.0, 5.0, 10.0)
_LEVELS = 1 << 16
_OFF_DYADIC = 0.618034
"""Keeps the borders of levels off the values that interpolation makes of round numbers."""


def saliency_overlap(
    saliency: Float[Tensor, "batch i j k"],
    cartilage: Bool[Tensor, "batch i j k"],
    *,
    top_percent: Sequence[float | int] = TOP_PERCENT,
) -> dict[str, Float[Tensor, " batch"]]:
    r"""Agreement of saliency with the cartilage (or any other region), per knee.

    The *salient* voxels are the ``n`` most salient ones, never one of zero saliency. Ranking has 65,536
    levels up to the maximum of a map, so that rounding does not decide between voxels that interpolation
    makes equal; voxels tied with the ``n``-th share the places that are left (hits are expected values under
    random order). Every measure stays the same when a map is multiplied by a number.

    Args:
        saliency: ``(batch, i, j, k)``, at least zero (negative values count as zero).
        cartilage: ``(batch, i, j, k)``.
        top_percent: shares of the volume, in percent.

    Returns:
        ``(batch,)`` float64 each, NaN for an empty or full region, a map without a positive voxel, or one
        that is not finite:

        - ``iou``, ``dice``: of the salient voxels with the region, as many as the region has.
        - ``iou_top_q``: IoU of the top ``q`` percent of the volume; ``precision_top_q``: share of them that
          lies in the region (top-q@ROI).
        - ``mass_in_cartilage``: share of the saliency inside the region (mass@ROI).
        - ``enrichment``: ``mass_in_cartilage`` over the region's share of the volume; 1 is chance.
        - ``pointing``: 1 if the most salient voxel lies in the region (Zhang et al. 2018,
          doi:10.1007/s11263-017-1059-x), a share if several are tied.
        - ``cartilage_share``: the region's share of the volume, the chance level of ``precision``,
          ``pointing`` and ``mass_in_cartilage``; NaN for an empty region only.

    Raises:
        ValueError: shapes that differ, or a percentage outside (0, 100].

    >>> saliency = torch.tensor([[[[4.0, 3.0, 2.0, 1.0]]]])
    >>> cartilage = torch.tensor([[[[True, False, True, False]]]])
    >>> measures = saliency_overlap(saliency, cartilage, top_percent=[25])
    >>> {name: round(value.item(), 3) for name, value in measures.items()}
    {'iou': 0.333, 'dice': 0.5, 'iou_top_25': 0.5, 'precision_top_25': 1.0, 'mass_in_cartilage': 0.6,
     'enrichment': 1.2, 'pointing': 1.0, 'cartilage_share': 0.5}
    """
    if saliency.shape != cartilage.shape:
        raise ValueError(
            f"expected saliency and cartilage of one shape, got {tuple(saliency.shape)} "
            f"and {tuple(cartilage.shape)}"
        )
    if any(not 0 < percent <= 100 for percent in top_percent):
        raise ValueError(f"top_percent: expected percentages in (0, 100], got {list(top_percent)}")
    values, region = saliency.flatten(1), cartilage.flatten(1)
    if not bool(values.amin() >= 0):
        values = values.clamp(min=0)
    voxels = values.shape[1]
    places = [row.nonzero()[:, 0] for row in region]
    size = torch.tensor([len(place) for place in places], device=values.device)
    counts = [max(1, math.ceil(voxels * percent / 100)) for percent in top_percent]
    ranks = torch.stack(
        [torch.ones_like(size), size, *(torch.full_like(size, count) for count in counts)], dim=1
    )
    hits, selected = _hits(values, places, ranks)
    share = size.double() / voxels
    mass = _mass(values, places)
    measures = {
        "iou": _iou(hits[:, 1], selected[:, 1], size),
        "dice": 2 * hits[:, 1] / (selected[:, 1] + size),
    }
    for column, percent in enumerate(top_percent, start=2):
        measures[f"iou_top_{percent:g}"] = _iou(hits[:, column], selected[:, column], size)
        measures[f"precision_top_{percent:g}"] = hits[:, column] / selected[:, column]
    measures |= {
        "mass_in_cartilage": mass,
        "enrichment": mass / share,
        "pointing": hits[:, 0],
    }
    undefined = mass.isnan() | (size == 0) | (size == voxels)
    measures = {name: value.masked_fill(undefined, math.nan) for name, value in measures.items()}
    return measures | {"cartilage_share": share.masked_fill(size == 0, math.nan)}


def iou_bound(cartilage: Bool[Tensor, "batch i j k"], grid: Sequence[int]) -> Float[Tensor, " batch"]:
    """What the grid of a feature map allows: the IoU that the region itself gets through that grid.

    The region is averaged over the cells of the grid, resampled back, and scored as saliency. A guide to
    what a perfect map could reach, not a strict limit. NaN for an empty or full region.

    >>> thin = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    >>> thin[:, 4] = True
    >>> [round(iou_bound(thin, (size, 4, 4)).item(), 2) for size in (8, 4, 2)]
    [1.0, 0.33, 0.0]
    """
    coarse = F.adaptive_avg_pool3d(cartilage[:, None].float(), (grid[0], grid[1], grid[2]))[:, 0]
    return saliency_overlap(resample(coarse, cartilage.shape[1:]), cartilage, top_percent=())["iou"]


def dilate(
    cartilage: Bool[Tensor, "batch i j k"], spacing: Float[Tensor, "batch 3"], millimetres: float
) -> Bool[Tensor, "batch i j k"]:
    """Every voxel whose centre lies within a distance of the region (exact, Euclidean; on the CPU).

    Args:
        cartilage: ``(batch, i, j, k)``.
        spacing: ``(batch, 3)`` voxel sizes in millimetres.
        millimetres: the distance.

    >>> point = torch.zeros(1, 1, 1, 5, dtype=torch.bool)
    >>> point[..., 2] = True
    >>> dilate(point, torch.tensor([[1.0, 1.0, 0.5]]), 0.6).int().tolist()
    [[[[0, 1, 1, 1, 0]]]]
    """
    from scipy.ndimage import distance_transform_edt

    if not millimetres > 0:
        return cartilage
    grown = []
    for region, size in zip(cartilage.cpu().numpy(), spacing.tolist(), strict=True):
        distance: npt.NDArray[Any] = distance_transform_edt(~region, sampling=size)
        grown.append(torch.from_numpy((distance <= millimetres) & region.any()))
    return torch.stack(grown).to(cartilage.device)


def _iou(hits: Tensor, selected: Tensor, size: Tensor) -> Tensor:
    return hits / (selected + size - hits)


def _mass(values: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Share of the values that lies inside; NaN when there are none or a value is not finite."""
    total = torch.stack([row.sum(dtype=torch.float64) for row in values])
    inside = torch.stack(
        [row[place].sum(dtype=torch.float64) for row, place in zip(values, places, strict=True)]
    )
    return torch.where(total.isfinite() & (total > 0), inside / total, math.nan)


def _hits(
    values: Float[Tensor, "batch voxels"],
    places: Sequence[Int[Tensor, " _"]],
    ranks: Int[Tensor, "batch ranks"],
) -> tuple[Float[Tensor, "batch ranks"], Float[Tensor, "batch ranks"]]:
    """Expected number of region voxels among the most salient ``ranks``, and how many were selected.

    Counting voxels a level replaces sorting them. ``places`` holds the indices of each region's voxels. Knee
    by knee, since memory for what is computed on the way is expensive beyond a few megabytes.
    """
    counts = []
    for row, place in zip(values, places, strict=True):
        depth = _depth(row)
        counts.append([torch.bincount(part, minlength=_LEVELS + 1)[:-1] for part in (depth, depth[place])])
    there, hits_there = (torch.stack(part) for part in zip(*counts, strict=True))
    reached, hits_reached = there.cumsum(dim=1), hits_there.cumsum(dim=1)  # at each depth or above
    selected = torch.minimum(ranks, reached[:, -1:])
    last = torch.searchsorted(reached, selected.clamp(min=1)).clamp(max=_LEVELS - 1)
    there, hits_there, reached, hits_reached = (
        count.gather(1, last) for count in (there, hits_there, reached, hits_reached)
    )
    shared = (selected - (reached - there)).double() / there.clamp(min=1)
    return hits_reached - hits_there + shared * hits_there, selected.double()


def _depth(values: Float[Tensor, " voxels"]) -> Int[Tensor, " voxels"]:
    """Values as whole numbers, from 0 for the largest to the number of levels for none."""
    peak = values.amax()
    scale = torch.where(peak.isfinite() & (peak > 0), (_LEVELS - 0.5) / peak, 0.0)
    level = (values * scale).add_(_OFF_DYADIC).to(torch.int32).clamp_(0, _LEVELS)
    return level.neg_().add_(_LEVELS)
