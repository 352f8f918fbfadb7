"""Overlap of saliency maps with a region, for a batch of knees at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from oahier.saliency.interpolation import resample

if TYPE_CHECKING:
    import numpy.typing as npt

TOP_PERCENT = (1.0, 5.0, 10.0)
_EQUAL_BITS = 6
"""Lowest of the 23 bits of a mantissa that do not count: values within 4e-6 of each other are tied."""


def saliency_overlap(
    saliency: Float[Tensor, "batch i j k"],
    cartilage: Bool[Tensor, "batch i j k"],
    *,
    top_percent: Sequence[float | int] = TOP_PERCENT,
) -> dict[str, Float[Tensor, " batch"]]:
    r"""Agreement of saliency with the cartilage (or any other region), per knee.

    The *salient* voxels are the ``n`` most salient ones, never one of zero saliency. Voxels within 4e-6 of
    each other, as a share of their value, are tied, so that rounding does not decide between those that
    interpolation makes equal; voxels tied with the ``n``-th share the ranks that are left (hits are expected
    values under random order). Every metric stays the same when a map is multiplied by a number.

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
    indices = [row.nonzero()[:, 0] for row in cartilage.flatten(1)]
    return region_overlap(saliency.flatten(1), indices, top_percent=top_percent)


def region_overlap(
    values: Float[Tensor, "batch voxels"],
    indices: Sequence[Int[Tensor, " _"]],
    *,
    top_percent: Sequence[float | int] = TOP_PERCENT,
) -> dict[str, Float[Tensor, " batch"]]:
    """As :func:`saliency_overlap`, of regions that are known by the indices of their voxels.

    Raises:
        ValueError: a percentage outside (0, 100].
    """
    if any(not 0 < percent <= 100 for percent in top_percent):
        raise ValueError(f"top_percent: expected percentages in (0, 100], got {list(top_percent)}")
    if not bool(values.amin() >= 0):
        values = values.clamp(min=0)
    voxels = values.shape[1]
    size = torch.tensor([len(region) for region in indices], device=values.device)
    counts = [max(1, math.ceil(voxels * percent / 100)) for percent in top_percent]
    ranks = torch.stack(
        [torch.ones_like(size), size, *(torch.full_like(size, count) for count in counts)], dim=1
    )
    share = size.double() / voxels
    mass = _mass(values, indices)
    known = mass.isfinite() & (size > 0) & (size < voxels)
    hits, selected = _hits(values, indices, ranks, known)
    metrics = {
        "iou": _iou(hits[:, 1], selected[:, 1], size),
        "dice": 2 * hits[:, 1] / (selected[:, 1] + size),
    }
    for column, percent in enumerate(top_percent, start=2):
        metrics[f"iou_top_{percent:g}"] = _iou(hits[:, column], selected[:, column], size)
        metrics[f"precision_top_{percent:g}"] = hits[:, column] / selected[:, column]
    metrics |= {
        "mass_in_cartilage": mass,
        "enrichment": mass / share,
        "pointing": hits[:, 0],
    }
    metrics = {name: value.masked_fill(~known, math.nan) for name, value in metrics.items()}
    return metrics | {"cartilage_share": share.masked_fill(size == 0, math.nan)}


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


def _mass(values: Tensor, indices: Sequence[Tensor]) -> Tensor:
    """Share of the values that lies inside; NaN when there are none or a value is not finite."""
    total = torch.stack([row.sum(dtype=torch.float64) for row in values])
    inside = torch.stack(
        [row[region].sum(dtype=torch.float64) for row, region in zip(values, indices, strict=True)]
    )
    return torch.where(total.isfinite() & (total > 0), inside / total, math.nan)


def _hits(
    values: Float[Tensor, "batch voxels"],
    indices: Sequence[Int[Tensor, " _"]],
    ranks: Int[Tensor, "batch ranks"],
    known: Bool[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch ranks"], Float[Tensor, "batch ranks"]]:
    """Expected number of region voxels among the most salient ``ranks``, and how many were selected.

    Only the voxels that the largest rank selects are sorted. Knee by knee, since memory for what is computed
    on the way is expensive beyond a few megabytes.
    """
    hits = torch.full(ranks.shape, math.nan, dtype=torch.float64)
    selected = hits.clone()
    for knee in known.nonzero()[:, 0].tolist():
        order = tied_levels(values[knee])
        inside = order[indices[knee]]
        found = _hits_of_knee(order, inside, ranks[knee].tolist())
        hits[knee], selected[knee] = (torch.tensor(numbers) for numbers in zip(*found, strict=True))
    return hits.to(values.device), selected.to(values.device)


def tied_levels(values: Float[Tensor, " voxels"]) -> Int[Tensor, " voxels"]:
    """Values as whole numbers in the same order, equal where they are tied; 0 for none."""
    wide = values if values.dtype == torch.float64 else values.float()
    share = (wide / wide.amax()).float()
    return share.view(torch.int32).add(1 << (_EQUAL_BITS - 1)).bitwise_right_shift_(_EQUAL_BITS)


def _hits_of_knee(order: Tensor, inside: Tensor, ranks: Sequence[int]) -> list[tuple[float, float]]:
    """Hits and number of selected voxels for each rank."""
    top, salient = _largest(order, max(ranks)), _largest(inside, len(inside))
    positive = len(top) - int(np.searchsorted(top, 1))
    found = []
    for count in (min(rank, positive) for rank in ranks):
        if count == 0:  # no saliency
            found.append((0.0, 0.0))
            continue
        level = top[-count]
        first, last = np.searchsorted(top, [level, level + 1]).tolist()
        # tied voxels may go on beyond those that were sorted
        tied = int((order == int(level)).count_nonzero()) if first == 0 else last - first
        shared, certain = np.searchsorted(salient, [level, level + 1]).tolist()
        share = (count - len(top) + last) / tied
        found.append((len(salient) - certain + share * (certain - shared), float(count)))
    return found


def _largest(order: Tensor, count: int) -> npt.NDArray[np.int32]:
    """The largest values, sorted; on a CPU NumPy partitions ten times as fast as ``topk``."""
    if order.device.type != "cpu":
        return order.sort().values[-count:].cpu().numpy()
    first = max(0, len(order) - count)
    return np.sort(np.partition(order.numpy(), first)[first:] if first else order.numpy())
