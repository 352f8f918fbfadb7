"""Thickness and volume of cartilage in a label map, compartment by compartment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from oahier.images.extent import box_of
from oahier.images.grid import Grid

COMPARTMENTS: Mapping[str, int] = {"femoral": 2, "medial_tibial": 4, "lateral_tibial": 5}
"""Compartments of the cartilage, and their ids in a label map."""

_NEIGHBOURS, _REACH = 24, 2.0
"""Points of the surface over which the steps of the voxels are averaged, and their largest distance in mm."""
_BLUR = 1.0
"""Standard deviation, in mm, of the blur whose gradient is the direction of the surface."""

Points: TypeAlias = Float64[np.ndarray, "points 3"]


@dataclass(frozen=True)
class CartilageSize:
    """Size of one compartment; NaN where the label map does not have it."""

    thickness: float
    """Mean thickness in mm, where there is cartilage."""
    volume: float
    """Volume in mm3."""


def cartilage_sizes(label_map: Shaped[np.ndarray, "i j k"], grid: Grid) -> dict[str, CartilageSize]:
    """Size of every compartment of a label map.

    >>> slab = np.zeros((40, 60, 8), dtype=np.uint8)
    >>> slab[:, :, 2:6] = 4
    >>> sizes = cartilage_sizes(slab, Grid(slab.shape, np.diag([0.5, 0.5, 0.5, 1.0])))
    >>> round(sizes["medial_tibial"].thickness, 2), sizes["medial_tibial"].volume, sizes["femoral"].volume
    (1.84, 1200.0, nan)
    """
    return {name: cartilage_size(label_map == label, grid.spacing) for name, label in COMPARTMENTS.items()}


def cartilage_size(mask: Bool[np.ndarray, "i j k"], spacing: Sequence[float]) -> CartilageSize:
    r"""Mean thickness and volume of a sheet of cartilage.

    The thickness at a point is the diameter of the largest sphere inside the cartilage that holds the point
    (Hildebrand & Rüegsegger 1997, doi:10.1046/j.1365-2818.1997.1340694.x), and this is its mean over the
    cartilage. It is read off the distances to the surface, without a skeleton: within a sheet of local
    thickness :math:`\tau` the distance :math:`D` is spread evenly from 0 to :math:`\tau / 2`, flat or curved,
    so that :math:`\bar\tau = 4 \bar D`.

    The surface has a point on every face between a voxel inside and one outside, with the direction of the
    blurred mask's gradient, and is moved along it to the plane through its neighbours: the steps of voxels
    would make an oblique sheet thinner. Distances to it are taken from eight points of every voxel. On sheets
    of 1.5 mm and more the error was at most 6 %, at any angle, with voxels of 0.7 x 0.36 x 0.36 mm; with
    slices as thick as the cartilage it can be 15 %. Along its rim the surface is nearer: a slab of
    :math:`b \times c` has :math:`\tau (1 - \tau / 3b - \tau / 3c + \tau^2 / 6bc)`, 4 % less for a tibial
    plate. Bone without cartilage lowers the volume, not the thickness.

    Args:
        mask: ``(i, j, k)`` voxels of the cartilage.
        spacing: voxel size in mm.

    Returns:
        NaN, twice, for a mask without a voxel: whether all of it is lost or nobody outlined it, the mask does
        not say.
    """
    from scipy.spatial import cKDTree

    if not mask.any():
        return CartilageSize(math.nan, math.nan)
    size = np.asarray(spacing, dtype=np.float64)
    inside = _cropped(mask, np.ceil(3 * _BLUR / size).astype(int) + 1)
    points, normals = _surface(inside, size)
    surface, voxels, depths = cKDTree(points), np.argwhere(inside), []
    for offset in itertools.product((-0.25, 0.25), repeat=3):
        places = (voxels + offset) * size
        nearest = surface.query(places)[1]
        depths.append(np.abs(((places - points[nearest]) * normals[nearest]).sum(axis=1)).mean())
    return CartilageSize(4 * float(np.mean(depths)), len(voxels) * float(size.prod()))


def _cropped(mask: Bool[np.ndarray, "i j k"], margin: Int64[np.ndarray, "3"]) -> Bool[np.ndarray, "a b c"]:
    """The box that holds the mask, with voxels outside on every side."""
    return np.pad(mask[box_of(mask)], [(int(width), int(width)) for width in margin])


def _surface(inside: Bool[np.ndarray, "a b c"], size: Float64[np.ndarray, "3"]) -> tuple[Points, Points]:
    """Points of the surface in mm, and its directions of unit length there."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial import cKDTree

    soft = gaussian_filter(inside.astype(np.float32), _BLUR / size)
    slope = np.stack(np.gradient(soft, *size), axis=-1)
    points, normals = [], []
    for axis in range(3):
        low = np.argwhere(np.diff(inside, axis=axis))
        step = np.eye(3, dtype=np.int64)[axis]
        points.append((low + 0.5 * step) * size)
        normals.append(slope[tuple(low.T)] + slope[tuple((low + step).T)])
    faces, across = np.concatenate(points), np.concatenate(normals).astype(np.float64)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    far, near = cKDTree(faces).query(faces, k=min(_NEIGHBOURS, len(faces)))
    heights = np.einsum("pkc,pc->pk", faces[near] - faces[:, None], across)
    same_side = np.einsum("pkc,pc->pk", across[near], across) > 0.5
    same_side &= far <= _REACH
    mean = (heights * same_side).sum(axis=1) / np.maximum(same_side.sum(axis=1), 1)
    return faces + across * mean[:, None], across
