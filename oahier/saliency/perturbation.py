"""Deletion and insertion: the score while the most salient voxels are taken away, or put back, first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from oahier.saliency.blur import local_mean


@torch.no_grad()
def deletion_insertion(
    score: Callable[[Tensor], Tensor],
    volume: Float[Tensor, "batch 1 i j k"],
    saliency: Float[Tensor, "batch i j k"],
    *,
    steps: int = 16,
    at_once: int = 8,
) -> dict[str, Float[Tensor, " batch"]]:
    r"""Areas under the deletion and the insertion curve (Petsiuk et al. 2018, arXiv:1806.07421), in 3D.

    A voxel that is taken away becomes its local mean (:func:`~oahier.saliency.blur.local_mean`), which stays
    inside the anatomy. Scores are relative: 0 is that of the volume without details, 1 that of the whole
    volume. Voxels go in equal shares of the volume; those of equal saliency in the order of the array.

    Args:
        score: volumes to one number each.
        volume: ``(batch, 1, i, j, k)``.
        saliency: at the size of the volume.
        steps: points of a curve, beside its start.
        at_once: volumes that go through the network together.

    Returns:
        ``deletion`` (the smaller the better), ``insertion`` (the larger the better) and ``insertion_gain``,
        insertion minus deletion, 0 for an order that says nothing, ``(batch,)`` float64. NaN where the
        volume without details has the same score, and for maps that are not finite.
    """
    rows = []
    for one, heat in zip(volume.split(1), saliency, strict=True):
        plain = local_mean(one)
        rank = torch.empty(heat.numel(), device=heat.device)
        order = heat.flatten().argsort(descending=True, stable=True)
        rank[order] = torch.arange(heat.numel(), device=heat.device, dtype=rank.dtype)
        share = ((rank + 0.5) / heat.numel()).view(1, 1, *heat.shape)
        cuts = torch.linspace(0, 1, steps + 1, device=heat.device).view(-1, 1, 1, 1, 1)
        deleted, inserted = [], []
        for some in cuts.split(at_once):
            deleted.append(score(torch.where(share < some, plain, one)).double())
            inserted.append(score(torch.where(share < some, one, plain)).double())
        low, high = inserted[0][0], inserted[-1][-1]
        curves = [(torch.cat(curve) - low) / (high - low) for curve in (deleted, inserted)]
        known = bool(heat.isfinite().all()) and bool((high - low).abs() > 1e-6)
        rows.append([float(torch.trapezoid(curve, dx=1 / steps)) if known else torch.nan for curve in curves])
    deletion, insertion = torch.tensor(rows, dtype=torch.float64, device=volume.device).unbind(1)
    return {"deletion": deletion, "insertion": insertion, "insertion_gain": insertion - deletion}
