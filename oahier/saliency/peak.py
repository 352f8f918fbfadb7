"""The place of a maximum that may be a plateau."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

_EQUAL = 1e-6
"""Share of the maximum by which interpolation may miss it."""


def peak_voxel(
    values: Shaped[np.ndarray, "i j k"], centre: Float[np.ndarray, "3"] | None = None
) -> tuple[int, int, int]:
    """The voxel of the maximum; of several, the one nearest to the centre.

    A map that was resampled from coarse cells is constant between the centres of the outermost cells and the
    border, so that its maximum is often a plateau of hundreds of voxels. The innermost of them is the centre
    of the maximal cell, and the peak of a mirrored map is the mirrored peak. (The first in the order of the
    array is neither: it lies towards one end of each axis, up to half a cell off.)

    Distances are shares of the length of each axis; of voxels that are equally near the first one is taken.

    Args:
        values: NaN is never the maximum, except where all are NaN.
        centre: place of the centre in voxels; by default the middle of the array.

    >>> plateau = np.array([5.0, 5.0, 5.0, 4.0, 2.0, 1.0, 0.0]).reshape(7, 1, 1)
    >>> peak_voxel(plateau), peak_voxel(plateau[::-1])
    ((2, 0, 0), (4, 0, 0))
    """
    known = np.nan_to_num(values, nan=-np.inf)
    top = known.max()
    places = np.argwhere(known >= top - _EQUAL * abs(top))
    shape = np.array(known.shape)
    middle = (shape - 1) / 2 if centre is None else centre
    distances = (((places - middle) / shape) ** 2).sum(axis=1)
    first, second, third = places[np.round(distances, 9).argmin()].tolist()
    return first, second, third
