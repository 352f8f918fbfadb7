"""Volumes small enough to lie inside a page: means over blocks, NIfTI and pictures as text."""

from __future__ import annotations

import base64
import gzip
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from oahier.images.grid import Grid
from oahier.images.write import nifti_bytes


def block_means(values: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    """Means over blocks of voxels; those at the far borders may be smaller.

    >>> block_means(np.array([[1.0, 3.0, 5.0]]), (1, 2)).tolist()
    [[2.0, 5.0]]
    """
    for axis, step in enumerate(block):
        if step == 1:
            continue
        starts = np.arange(0, values.shape[axis], step)
        sums = np.add.reduceat(values, starts, axis=axis)
        sizes = np.diff([*starts, values.shape[axis]])
        values = sums / sizes.reshape([-1 if other == axis else 1 for other in range(values.ndim)])
    return values


def block_for(grid: Grid, most: int) -> tuple[int, ...]:
    """The blocks whose means are at most ``most`` voxels; the finest axis is made coarser first.

    Raises:
        ValueError: ``most`` is below 1.

    >>> block_for(Grid((100, 400, 400), np.diag([0.7, 0.35, 0.35, 1.0])), 4_000_000)
    (1, 2, 2)
    """
    if most < 1:
        raise ValueError(f"most: expected 1 or more voxels, got {most}")
    block = [1, 1, 1]
    while math.prod(-(-count // step) for count, step in zip(grid.shape, block, strict=True)) > most:
        lengths = [
            step * length if step < count else math.inf
            for step, length, count in zip(block, grid.spacing, grid.shape, strict=True)
        ]
        block[lengths.index(min(lengths))] += 1
    return tuple(block)


def block_grid(grid: Grid, block: Sequence[int]) -> Grid:
    """Where the means over blocks lie.

    >>> block_grid(Grid((4, 4, 5), np.eye(4)), (1, 2, 2)).affine[:3, 3].tolist()
    [0.0, 0.5, 0.5]
    """
    steps, affine = np.array(tuple(block)), grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((steps - 1) / 2)
    affine[:3, :3] *= steps
    return Grid(tuple(-(-count // step) for count, step in zip(grid.shape, block, strict=True)), affine)


def grey_levels(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Intensities as 0 (``low`` and less) to 255 (``high`` and more).

    >>> grey_levels(np.array([-1.0, 0.0, 1.0, 9.0]), 0.0, 2.0).tolist()
    [0, 0, 128, 255]
    """
    shares = (np.clip(np.nan_to_num(values, nan=low), low, high) - low) / max(high - low, 1e-6)
    levels: npt.NDArray[np.uint8] = np.round(255 * shares).astype(np.uint8)
    return levels


def data_address(picture: Any, kind: str, **options: Any) -> str:
    """A picture of Pillow's as the address of an ``img``; of a kind such as ``"png"``, with its options."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def as_text(values: UInt8[np.ndarray, "i j k"], grid: Grid) -> str:
    """A compressed NIfTI file in base64: voxels and where they lie, every text field of the header empty.

    >>> as_text(np.zeros((2, 2, 2), dtype=np.uint8), Grid((2, 2, 2), np.eye(4)))[:4]
    'H4sI'
    """
    content = gzip.compress(nifti_bytes(values, grid.affine), 6, mtime=0)  # a third smaller than isal's
    return base64.b64encode(content).decode("ascii")
