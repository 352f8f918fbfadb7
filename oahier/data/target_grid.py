"""Volumes and label maps on the grid that a model sees: resampled, cropped or padded, and z-scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float16, Float32, UInt8

from oahier.images import Grid
from oahier.images.resampling import (
    along_axes,
    axis_position,
    forwards,
    nearest_indices,
    pick,
    sampling_matrix,
)

Box = tuple[slice, ...]
"""The voxels of the target grid that the scan covers."""


def target_grid(source: Grid, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    """The grid of ``shape`` and ``spacing`` with the axes and the centre of the source.

    >>> grid = target_grid(Grid((10, 10, 10), np.eye(4)), (4, 5, 10), (2.0, 2.0, 1.0))
    >>> grid.affine[:3, 3].tolist()
    [1.5, 0.5, 0.0]
    """
    affine = np.eye(4)
    affine[:3, :3] = source.affine[:3, :3] / source.spacing * np.asarray(spacing)
    centre = source.affine[:3, :3] @ ((np.array(source.shape) - 1) / 2) + source.affine[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(tuple(shape), affine)


@dataclass(frozen=True, eq=False)
class _Resampled:
    """Covered voxels as ``(value - middle) / unit``, and the scan's minimum in its own units."""

    values: Float32[np.ndarray, "i j k"]
    box: Box
    middle: float
    unit: float
    floor: float


def _resampled(values: np.ndarray, source: Grid, target: Grid) -> _Resampled:
    matrices, box = [], []
    for axis in range(3):
        first, step = axis_position(source, target, axis)
        matrix, covered = sampling_matrix(source.shape[axis], target.shape[axis], first, step)
        matrices.append(matrix)
        box.append(covered)
    if not all(len(matrix) for matrix in matrices):
        raise ValueError(
            f"no voxel of the grid of {_size(target)} lies within the scan; choose a smaller spacing"
        )
    stored = forwards(values)
    floor, ceiling = float(stored.min()), float(stored.max())
    # counted from the median, in units of the range: float32 then resolves any kind of file
    middle = float(np.median(stored[:: 1 + len(stored) // 64, ::4, ::4]))
    unit = ceiling - floor or 1.0
    return _Resampled(along_axes(values, matrices, middle, 1 / unit), tuple(box), middle, unit, floor)


def _size(grid: Grid) -> str:
    return f"{grid.shape} voxels of {' x '.join(f'{length:g}' for length in grid.spacing)} mm"


def in_its_units(
    values: np.ndarray, source: Grid, target: Grid
) -> tuple[Float32[np.ndarray, "i j k"], np.float32, Box]:
    """The covered voxels as a transform left them, what stands outside of them, and where they lie."""
    found = _resampled(values, source, target)
    return (
        found.values * np.float32(found.unit) + np.float32(found.middle),
        np.float32(found.floor),
        found.box,
    )


def z_scored(
    values: np.ndarray, source: Grid, target: Grid
) -> tuple[Float16[np.ndarray, "i j k"], np.float16, Box]:
    """The covered voxels, what stands outside of them, and where they lie.

    A z-score of n voxels is at most sqrt(n), which fits float16; the scan's minimum may lie far from what
    is covered, and is cut off there.

    Raises:
        ValueError: all covered voxels are equal, or there are none.
    """
    found = _resampled(values, source, target)
    scores = found.values
    mean = float(scores.mean(dtype=np.float64))
    scores -= np.float32(mean)
    deviation = _root_mean_square(scores)
    if not deviation > 0:
        raise ValueError(f"constant volume once resampled to {_size(target)}")
    scores *= np.float32(1 / deviation)
    outside = ((found.floor - found.middle) / found.unit - mean) / deviation
    return _half(scores), np.float16(max(outside, float(np.finfo(np.float16).min))), found.box


def _root_mean_square(values: Float32[np.ndarray, "i j k"]) -> float:
    squares = sum(float(np.vdot(plane, plane)) for plane in values)
    return float(np.sqrt(squares / values.size))


def _half(values: Float32[np.ndarray, "i j k"]) -> Float16[np.ndarray, "i j k"]:
    return torch.from_numpy(values).half().numpy()  # five times as fast as numpy's


def nearest(labels: np.ndarray, source: Grid, target: Grid) -> tuple[UInt8[np.ndarray, "i j k"], Box]:
    """The nearest label of every covered voxel, and where these lie."""
    indices, box = [], []
    for axis in range(3):
        position = axis_position(source, target, axis)
        chosen, covered = nearest_indices(source.shape[axis], target.shape[axis], *position)
        indices.append(chosen)
        box.append(covered)
    return pick(labels, indices), tuple(box)
