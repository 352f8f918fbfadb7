"""Areas under the ROC and the precision-recall curve of a region over voxels, and distance of the peak."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from oahier.saliency.overlap import tied_levels
from oahier.saliency.peak import peak_voxel


def region_areas(
    values: Float[Tensor, "batch voxels"], indices: Sequence[Int[Tensor, " _"]]
) -> dict[str, Float[Tensor, " batch"]]:
    """How well saliency separates the voxels of a region from all others; no threshold, exact ranks.

    Costs a sort of the volume a knee. Ties are those of :func:`~oahier.saliency.saliency_overlap`.

    Args:
        values: ``(batch, voxels)``; negative ones count as zero.
        indices: voxels of each knee's region.

    Returns:
        ``auroc`` (chance .5) and ``auprc``, the average precision (chance: the region's share), ``(batch,)``
        float64; NaN for an empty or full region and for values that are not finite.

    >>> areas = region_areas(torch.tensor([[4.0, 3.0, 2.0, 1.0]]), [torch.tensor([0, 2])])
    >>> {name: round(area.item(), 3) for name, area in areas.items()}
    {'auroc': 0.75, 'auprc': 0.833}
    """
    rows = [_areas(row, region) for row, region in zip(values, indices, strict=True)]
    auroc, auprc = torch.tensor(rows, dtype=torch.float64, device=values.device).reshape(-1, 2).unbind(1)
    return {"auroc": auroc, "auprc": auprc}


def peak_distance(
    saliency: Float[Tensor, "batch i j k"],
    regions: Bool[Tensor, "batch i j k"],
    spacing: Float[Tensor, "batch 3"],
) -> Float[Tensor, " batch"]:
    """Millimetres from the most salient voxel to the nearest voxel of the region, 0 inside it.

    NaN for an empty region and for a map that is zero or not finite.

    >>> line = torch.tensor([[[[0.0, 0.0, 0.0, 2.0]]]])
    >>> peak_distance(line, line < 0.5, torch.tensor([[1.0, 1.0, 0.5]])).tolist()
    [0.5]
    """
    found = []
    for values, region, steps in zip(saliency, regions, spacing, strict=True):
        place = region.nonzero()
        if not len(place) or not bool(values.isfinite().all()) or not bool(values.amax() > 0):
            found.append(math.nan)
            continue
        peak = torch.tensor(peak_voxel(values.float().cpu().numpy()), device=place.device)
        found.append(float(((place - peak) * steps.to(place.device)).double().norm(dim=1).amin()))
    return torch.tensor(found, dtype=torch.float64, device=saliency.device)


def _areas(values: Tensor, region: Tensor) -> tuple[float, float]:
    voxels, size = len(values), len(region)
    if not 0 < size < voxels or not bool(values.isfinite().all()):
        return math.nan, math.nan
    levels = tied_levels(values.clamp(min=0))
    ordered, inside = levels.sort().values, levels[region.long()].sort(descending=True).values
    below = torch.searchsorted(ordered, inside.contiguous()).double()
    not_above = torch.searchsorted(ordered, inside.contiguous(), right=True).double()
    rank_sum = float((below + not_above + 1).sum() / 2)
    auroc = (rank_sum - size * (size + 1) / 2) / (size * (voxels - size))
    last_of_tie = torch.cat([inside[1:] != inside[:-1], inside.new_ones(1, dtype=torch.bool)])
    hits = torch.arange(1, size + 1, device=values.device, dtype=torch.float64)[last_of_tie]
    precision = hits / (voxels - below[last_of_tie])
    return auroc, float((precision * hits.diff(prepend=hits.new_zeros(1))).sum() / size)
