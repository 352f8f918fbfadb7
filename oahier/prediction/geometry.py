"""From the grid that a network sees back to the grid of the scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from oahier.images import Grid

_STRAIGHT = 1e-4
"""Largest part of a voxel by which axes of two grids may disagree along a whole side."""


def cell_grid(volume: Grid, cells: Sequence[int]) -> Grid:
    """The grid of a feature map whose cells share the extent of a volume.

    >>> cell_grid(Grid((8, 8, 8), np.eye(4)), (2, 4, 8)).affine[:3, 3].tolist()
    [1.5, 0.5, 0.0]
    """
    factors = np.array(volume.shape) / np.array(tuple(cells))
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * factors
    affine[:3, 3] += volume.affine[:3, :3] @ ((factors - 1) / 2)
    return Grid(tuple(int(count) for count in cells), affine)


def on_grid(values: Float32[np.ndarray, "a b c"], grid: Grid, target: Grid) -> Float32[np.ndarray, "i j k"]:
    """Trilinear interpolation at the voxels of another grid with parallel axes.

    Between the centres of the outermost voxels and their edges the values go on; beyond the edges they are
    zero, because nothing was seen there.

    Args:
        values: on ``grid``.
        grid: where the values lie.
        target: where they are wanted; its axes may run the other way.

    Raises:
        ValueError: the axes of the grids are not parallel.

    >>> seen = Grid((2, 1, 1), np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> wanted = Grid((7, 1, 1), np.diag([-1.0, 1.0, 1.0, 1.0]) + np.outer([4, 0, 0, 0], [0, 0, 0, 1]))
    >>> on_grid(np.array([[[0.0]], [[4.0]]], dtype=np.float32), seen, wanted)[:, 0, 0].tolist()
    [0.0, 4.0, 4.0, 2.0, 0.0, 0.0, 0.0]
    """
    result = values
    for axis, places in enumerate(_places(grid, target)):
        weights = _weights(places, grid.shape[axis])
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


def outside_share(target: Grid, scan: Grid) -> float:
    """Share of the voxels of ``target`` whose centres lie outside ``scan``; grids with parallel axes.

    >>> outside_share(Grid((4, 4, 4), np.eye(4)), Grid((2, 4, 4), np.eye(4)))
    0.5
    """
    inside = 1.0
    for axis, places in enumerate(_places(scan, target)):
        inside *= float(np.mean(_within(places, scan.shape[axis])))
    return 1.0 - inside


def middle_of(grid: Grid, on: Grid) -> Float64[np.ndarray, "3"]:
    """Place of the centre of a grid in voxels of another one.

    >>> middle_of(Grid((4, 4, 4), np.eye(4)), Grid((9, 9, 9), np.diag([0.5, 1.0, 1.0, 1.0]))).tolist()
    [3.0, 1.5, 1.5]
    """
    voxel = np.linalg.inv(on.affine) @ np.append(to_millimetres(grid, (np.array(grid.shape) - 1) / 2), 1.0)
    middle: Float64[np.ndarray, "3"] = voxel[:3]
    return middle


def to_millimetres(grid: Grid, voxel: Sequence[int] | np.ndarray) -> Float64[np.ndarray, "3"]:
    """Place of the centre of a voxel, millimetres towards right, anterior, superior."""
    place: Float64[np.ndarray, "3"] = (
        grid.affine[:3, :3] @ np.asarray(voxel, dtype=np.float64) + grid.affine[:3, 3]
    )
    return place


def _places(grid: Grid, target: Grid) -> list[np.ndarray]:
    """For each axis, the coordinates on ``grid`` of the voxels of ``target``."""
    across = np.linalg.inv(grid.affine) @ target.affine
    drift = across[:3, :3] - np.diag(np.diag(across[:3, :3]))
    if np.abs(drift * np.array(target.shape)).max() > _STRAIGHT * max(grid.shape):
        raise ValueError(
            f"expected grids with parallel axes, got one turned against the other: {across[:3, :3].tolist()}"
        )
    return [across[axis, axis] * np.arange(target.shape[axis]) + across[axis, 3] for axis in range(3)]


def _weights(places: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation from ``count`` voxels as a matrix ``(len(places), count)``."""
    held = np.clip(places, 0, count - 1)
    lower = np.minimum(np.floor(held).astype(int), max(count - 2, 0))
    share = held - lower
    weights = np.zeros((len(places), count), dtype=np.float32)
    rows = np.arange(len(places))
    np.add.at(weights, (rows, lower), 1 - share)
    np.add.at(weights, (rows, np.minimum(lower + 1, count - 1)), share)
    weights[~_within(places, count)] = 0
    return weights


def _within(places: np.ndarray, count: int) -> np.ndarray:
    """Whether coordinates lie between the outer edges of ``count`` voxels, borders and rounding included."""
    return np.asarray((places >= -0.5 - 1e-6) & (places <= count - 0.5 + 1e-6))
