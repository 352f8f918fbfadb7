"""Volumes without their details, to put in the place of what is taken away."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool3d


def local_mean(volume: Float[Tensor, "batch c i j k"], share: float = 0.15) -> Float[Tensor, "batch c i j k"]:
    """Each voxel's mean over its surroundings, twice; at the border over what lies inside.

    Args:
        volume: ``(batch, c, i, j, k)``.
        share: width of the surroundings as a share of each axis, at least three voxels.

    >>> import torch
    >>> bool((local_mean(torch.full((1, 1, 6, 6, 6), 2.0)) == 2).all())
    True
    """
    reach = [max(1, round(share * size / 2)) for size in volume.shape[2:]]
    reach = [min(half, size // 2) for half, size in zip(reach, volume.shape[2:], strict=True)]
    kind, volume = volume.dtype, volume.float() if volume.itemsize < 4 else volume  # no CPU pools halves
    for _ in range(2):
        volume = avg_pool3d(volume, [2 * half + 1 for half in reach], 1, reach, count_include_pad=False)
    return volume.to(kind)
