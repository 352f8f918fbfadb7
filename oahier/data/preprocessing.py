"""The deterministic part of loading: from the files of a knee to what the cache stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16, Float32, UInt8

from oahier.data.bias_field import remove_bias
from oahier.images import Affine, Grid
from oahier.images.knee import KneeImages
from oahier.images.resampling import (
    along_axes,
    axis_position,
    forwards,
    nearest_indices,
    pick,
    sampling_matrix,
)

FORMAT = 2
"""Goes into the name of every cache entry: raise it when preprocessing gives other voxels."""


@dataclass(frozen=True)
class Preprocessing:
    """Everything that decides which voxels a knee becomes.

    Args:
        shape: voxels along right, anterior, superior.
        spacing: millimetres per voxel along the same axes.
        mirror_left: flip left knees, so that medial is on the same side in every volume.
        bias_correction: remove the bias field first (N4).

    >>> settings = Preprocessing((80, 128, 128), (1.4, 1.0, 1.0), mirror_left=True)
    >>> Preprocessing.from_dict(settings.as_dict()) == settings
    True
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    mirror_left: bool = False
    bias_correction: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and booleans, as checkpoints keep them."""
        return {
            "shape": list(self.shape),
            "spacing": [round(float(length), 6) for length in self.spacing],
            "mirror_left": self.mirror_left,
            "bias_correction": self.bias_correction,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The settings that :meth:`as_dict` wrote.

        Raises:
            ValueError: a setting that this version does not know.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(
                f"preprocessing: unknown setting {sorted(unknown)}; was it written by a newer oahier?"
            )
        return cls(
            tuple(int(count) for count in values["shape"]),
            tuple(float(length) for length in values["spacing"]),
            bool(values.get("mirror_left", False)),
            bool(values.get("bias_correction", False)),
        )

    def mirrors(self, side: str) -> bool:
        """True if a knee of this side is flipped."""
        return self.mirror_left and side == "left"

    def entry_name(self, mri_hash: str, cartilage_hash: str | None, *, mirror: bool) -> str:
        """File name, in the cache, of the knee with these source files."""
        settings = self.as_dict()
        del settings["mirror_left"]  # what counts is whether this knee is flipped
        key = [FORMAT, settings, mirror, mri_hash, cartilage_hash]
        return hashlib.blake2b(json.dumps(key).encode(), digest_size=20).hexdigest() + ".knee"


@dataclass(frozen=True, eq=False)
class PreparedKnee:
    """What the cache stores: the z-scored volume, its label map and their common affine.

    The first column of the affine of a mirrored knee is negative: voxels still know where they were.
    """

    mri: Float16[np.ndarray, "i j k"]
    cartilage: UInt8[np.ndarray, "i j k"] | None
    affine: Affine


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


def preprocess(images: KneeImages, settings: Preprocessing, *, mirror: bool = False) -> PreparedKnee:
    """Resample once onto the target grid (which crops and pads about the centre), then z-score.

    The volume is smoothed before it is made coarser (Cardoso et al. 2015, doi:10.1007/978-3-319-24571-3_81),
    and sampled linearly; the label map takes the nearest voxel, which keeps the volume of thin cartilage on
    average. Mean and standard deviation are taken over the voxels that the scan covers; what lies outside
    it gets the scan's minimum.

    Args:
        images: volume and label map on one grid.
        settings: the target grid, and whether the bias field is removed.
        mirror: flip left and right. Label ids stay: the medial plateau is medial still.

    Raises:
        ValueError: nothing is left to see on the target grid.
    """
    source = images.mri.grid
    grid = target_grid(source, settings.shape, settings.spacing)
    values = remove_bias(images.mri) if settings.bias_correction else images.mri.data
    affine = _mirrored(grid) if mirror else grid.affine
    direction = -1 if mirror else 1
    scores, outside, box = _z_scored(values, source, grid)
    mri = np.full(grid.shape, outside)
    mri[::direction][box] = scores
    cartilage = None
    if images.cartilage is not None:
        cartilage = np.zeros(grid.shape, dtype=np.uint8)
        picked, box = _nearest(images.cartilage.data, source, grid)
        cartilage[::direction][box] = picked
    return PreparedKnee(mri, cartilage, affine)


Box = tuple[slice, ...]
"""The voxels of the target grid that the scan covers."""


def _z_scored(
    values: np.ndarray, source: Grid, target: Grid
) -> tuple[Float16[np.ndarray, "i j k"], np.float16, Box]:
    """The covered voxels, what stands outside of them, and where they lie.

    A z-score of n voxels is at most sqrt(n), which fits float16; the scan's minimum may lie far from what
    is covered, and is cut off there.

    Raises:
        ValueError: all covered voxels are equal, or there are none.
    """
    matrices, box = [], []
    for axis in range(3):
        first, step = axis_position(source, target, axis)
        matrix, covered = sampling_matrix(source.shape[axis], target.shape[axis], first, step)
        matrices.append(matrix)
        box.append(covered)
    size = f"{target.shape} voxels of {' x '.join(f'{length:g}' for length in target.spacing)} mm"
    if not all(len(matrix) for matrix in matrices):
        raise ValueError(f"no voxel of the grid of {size} lies within the scan; choose a smaller spacing")
    stored = forwards(values)
    floor, ceiling = float(stored.min()), float(stored.max())
    # counted from the median, in units of the range: float32 then resolves any kind of file
    middle = float(np.median(stored[:: 1 + len(stored) // 64, ::4, ::4]))
    unit = ceiling - floor or 1.0
    resampled = along_axes(values, matrices, middle, 1 / unit)
    mean = float(resampled.mean(dtype=np.float64))
    resampled -= np.float32(mean)
    deviation = _root_mean_square(resampled)
    if not deviation > 0:
        raise ValueError(f"constant volume once resampled to {size}")
    resampled *= np.float32(1 / deviation)
    outside = ((floor - middle) / unit - mean) / deviation
    return _half(resampled), np.float16(max(outside, float(np.finfo(np.float16).min))), tuple(box)


def _root_mean_square(values: Float32[np.ndarray, "i j k"]) -> float:
    squares = sum(float(np.vdot(plane, plane)) for plane in values)
    return float(np.sqrt(squares / values.size))


def _half(values: Float32[np.ndarray, "i j k"]) -> Float16[np.ndarray, "i j k"]:
    return torch.from_numpy(values).half().numpy()  # five times as fast as numpy's


def _nearest(labels: np.ndarray, source: Grid, target: Grid) -> tuple[UInt8[np.ndarray, "i j k"], Box]:
    indices, box = [], []
    for axis in range(3):
        position = axis_position(source, target, axis)
        nearest, covered = nearest_indices(source.shape[axis], target.shape[axis], *position)
        indices.append(nearest)
        box.append(covered)
    return pick(labels, indices), tuple(box)


def _mirrored(grid: Grid) -> Affine:
    """Affine of the volume whose voxels run the other way along i."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = grid.shape[0] - 1
    return np.asarray(grid.affine @ flip, dtype=np.float64)
