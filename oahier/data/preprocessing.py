"""The deterministic part of loading: from the files of a knee to what the cache stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from oahier.data.bias_field import remove_bias
from oahier.data.content import KneeImages
from oahier.data.reading import Affine, Grid, Image
from oahier.data.resampling import axis_position, nearest_indices, sampling_matrix

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
    values = images.mri.data
    if settings.bias_correction:
        values = remove_bias(Image(values, source))
    resampled, inside = _resample(values, source, grid)
    covered = resampled[inside]
    deviation = float(covered.std(dtype=np.float64))
    if not deviation > 0:
        raise ValueError(f"constant volume once resampled to {grid.shape} voxels of {settings.spacing} mm")
    mean = float(covered.mean(dtype=np.float64))
    outside = (float(values.min()) - mean) / deviation
    mri = np.full(grid.shape, np.float16(outside))
    mri[inside] = (covered - np.float32(mean)) * np.float32(1 / deviation)
    cartilage = None
    if images.cartilage is not None:
        cartilage = _nearest(images.cartilage.data, source, grid)
    affine = grid.affine
    if mirror:
        mri, affine = mri[::-1], _mirrored(grid)
        cartilage = None if cartilage is None else cartilage[::-1]
    if cartilage is not None:
        cartilage = np.ascontiguousarray(cartilage)
    return PreparedKnee(np.ascontiguousarray(mri), cartilage, affine)


def _resample(
    values: np.ndarray, source: Grid, target: Grid
) -> tuple[Float32[np.ndarray, "i j k"], tuple[slice, ...]]:
    """Smoothing and linear sampling as one matrix an axis; and the box of the target that the scan covers."""
    matrices, box = [], []
    for axis in range(3):
        first, step = axis_position(source, target, axis)
        matrix, covered = sampling_matrix(source.shape[axis], target.shape[axis], first, step)
        matrices.append(matrix)
        box.append(covered)
    result = values
    # the axis that shrinks most goes first, so that the others have least to do
    order = sorted(range(3), key=lambda axis: matrices[axis].shape[0] / matrices[axis].shape[1])
    for axis in order:
        result = _along(matrices[axis], result, axis)
    full = np.zeros(target.shape, dtype=np.float32)
    full[tuple(box)] = result
    return full, tuple(box)


def _along(matrix: np.ndarray, values: np.ndarray, axis: int) -> Float32[np.ndarray, "i j k"]:
    values = values.astype(np.float32, copy=False)
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)


def _nearest(labels: np.ndarray, source: Grid, target: Grid) -> UInt8[np.ndarray, "i j k"]:
    picked, box = [], []
    for axis in range(3):
        indices, covered = nearest_indices(
            source.shape[axis], target.shape[axis], *axis_position(source, target, axis)
        )
        picked.append(indices)
        box.append(covered)
    result = np.zeros(target.shape, dtype=np.uint8)
    result[tuple(box)] = labels[np.ix_(*picked)]
    return result


def _mirrored(grid: Grid) -> Affine:
    """Affine of the volume whose voxels run the other way along i."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = grid.shape[0] - 1
    return np.asarray(grid.affine @ flip, dtype=np.float64)
