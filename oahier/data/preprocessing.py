"""Preprocessing of a knee: its settings, resampling and z-scores, and what the cache stores of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, UInt8

from oahier.data.bias_field import remove_bias
from oahier.images import Affine, Grid
from oahier.images.knee import KneeImages
from oahier.images.resampling import Box, along_axes, forwards, nearest, sampling_matrices, target_grid

if TYPE_CHECKING:
    from oahier.data.transforms import RecordedTransform

FORMAT = 2
"""Goes into the name of every cache entry: raise it when preprocessing gives other voxels."""


@dataclass(frozen=True)
class Preprocessing:
    """Everything that decides which voxels a knee becomes.

    Args:
        shape: voxels along right, anterior, superior.
        spacing: millimetres per voxel along the same axes; empty if a transform decides.
        mirror_left: flip left knees, so that medial is on the same side in every volume.
        bias_correction: remove the bias field first (N4).
        transform: a TorchIO transform in place of z-scores; volumes that have not the shape and spacing
            afterwards are resampled.

    >>> settings = Preprocessing((80, 128, 128), (1.4, 1.0, 1.0), mirror_left=True)
    >>> Preprocessing.from_dict(settings.as_dict()) == settings
    True
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    mirror_left: bool = False
    bias_correction: bool = False
    transform: RecordedTransform | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints keep them; ``transform`` is among them where there is one."""
        settings: dict[str, Any] = {
            "shape": list(self.shape),
            "spacing": [round(float(length), 6) for length in self.spacing],
            "mirror_left": self.mirror_left,
            "bias_correction": self.bias_correction,
        }
        return settings if self.transform is None else {**settings, "transform": self.transform.spec}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The settings that :meth:`as_dict` wrote.

        Raises:
            ValueError: a setting that this version does not know, or a transform that cannot be rebuilt.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(
                f"preprocessing: unknown setting {sorted(unknown)}; was it written by a newer oahier?"
            )
        transform = None
        if values.get("transform") is not None:
            from oahier.data.transforms import RecordedTransform

            transform = RecordedTransform.from_spec(values["transform"])
        return cls(
            tuple(int(count) for count in values["shape"]),
            tuple(float(length) for length in values["spacing"]),
            bool(values.get("mirror_left", False)),
            bool(values.get("bias_correction", False)),
            transform,
        )

    @property
    def kind(self) -> str:
        """Number type of the volumes: z-scores fit float16, what a transform gives need not."""
        return "float16" if self.transform is None else "float32"

    def mirrors(self, side: str) -> bool:
        """True if a knee of this side is flipped."""
        return self.mirror_left and side == "left"

    def entry_name(self, mri_hash: str, cartilage_hash: str | None, *, mirror: bool) -> str:
        """File name, in the cache, of the knee with these source files."""
        settings = self.as_dict()
        del settings["mirror_left"]  # what counts is whether this knee is flipped
        key = [FORMAT, settings, mirror, mri_hash, cartilage_hash]
        if self.transform is not None:
            key.append(self.transform.code)
        return hashlib.blake2b(json.dumps(key).encode(), digest_size=20).hexdigest() + ".knee"


@dataclass(frozen=True, eq=False)
class PreparedKnee:
    """What the cache stores: a volume, its label map and their common affine.

    Z-scores are float16, what a transform gives is float32. The first column of the affine of a mirrored knee
    is negative: voxels still know where they were.
    """

    mri: Float[np.ndarray, "i j k"]
    cartilage: UInt8[np.ndarray, "i j k"] | None
    affine: Affine


def preprocess(images: KneeImages, settings: Preprocessing, *, mirror: bool = False) -> PreparedKnee:
    """Resample once onto the target grid (which crops and pads about the centre), then z-score.

    The volume is smoothed before it is made coarser (Cardoso et al. 2015, doi:10.1007/978-3-319-24571-3_81),
    and sampled linearly; the label map takes the nearest voxel, which keeps the volume of thin cartilage on
    average. Mean and standard deviation are taken over the voxels that the scan covers; what lies outside
    it gets the scan's minimum.

    Args:
        images: volume and label map on one grid.
        settings: the target grid, whether the bias field is removed, and a transform in place of z-scores.
        mirror: flip left and right. Label ids stay: the medial plateau is medial still.

    Raises:
        ValueError: nothing is left to see on the target grid, or the transform failed.
    """
    if settings.bias_correction:
        images = replace(images, mri=replace(images.mri, data=remove_bias(images.mri)))
    if settings.transform is not None:
        images = settings.transform(images)
        if _has_grid(images.mri.grid, settings):
            return _as_it_is(images, mirror)
    source = images.mri.grid
    grid = target_grid(source, settings.shape, settings.spacing)
    affine = _mirrored(grid) if mirror else grid.affine
    direction = -1 if mirror else 1
    fitted = _z_scored if settings.transform is None else _in_its_units
    values, outside, box = fitted(images.mri.data, source, grid)
    mri = np.full(grid.shape, outside)
    mri[::direction][box] = values
    cartilage = None
    if images.cartilage is not None:
        cartilage = np.zeros(grid.shape, dtype=np.uint8)
        picked, box = nearest(images.cartilage.data, source, grid)
        cartilage[::direction][box] = picked
    return PreparedKnee(mri, cartilage, affine)


def _has_grid(grid: Grid, settings: Preprocessing) -> bool:
    """True if a transform made the shape, and the spacing if that was asked for.

    Raises:
        ValueError: another shape, and no spacing to resample to.
    """
    if settings.spacing:
        return grid.shape == settings.shape and np.allclose(grid.spacing, settings.spacing, rtol=1e-3)
    if grid.shape != settings.shape:
        raise ValueError(
            f"preprocessing: expected {settings.shape} voxels, got {grid.shape}; end the transform with "
            "torchio.Resample and torchio.CropOrPad, or give the data module a spacing to resample to"
        )
    return True


def _as_it_is(images: KneeImages, mirror: bool) -> PreparedKnee:
    grid, direction = images.mri.grid, -1 if mirror else 1
    cartilage = None if images.cartilage is None else images.cartilage.data[::direction]
    affine = _mirrored(grid) if mirror else grid.affine
    return PreparedKnee(images.mri.data[::direction], cartilage, affine)


def _mirrored(grid: Grid) -> Affine:
    """Affine of the volume whose voxels run the other way along i."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = grid.shape[0] - 1
    return np.asarray(grid.affine @ flip, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Resampled:
    """Covered voxels as ``(value - middle) / unit``, and the scan's minimum in its own units."""

    values: Float32[np.ndarray, "i j k"]
    box: Box
    middle: float
    unit: float
    floor: float


def _resampled(values: np.ndarray, source: Grid, target: Grid) -> _Resampled:
    matrices, box = sampling_matrices(source, target)
    if not all(len(matrix) for matrix in matrices):
        raise ValueError(
            f"no voxel of the grid of {_size(target)} lies within the scan; choose a smaller spacing"
        )
    stored = forwards(values)
    floor, ceiling = float(stored.min()), float(stored.max())
    # counted from the median, in units of the range: float32 then resolves any kind of file
    middle = float(np.median(stored[:: 1 + len(stored) // 64, ::4, ::4]))
    unit = ceiling - floor or 1.0
    return _Resampled(along_axes(values, matrices, middle, 1 / unit), box, middle, unit, floor)


def _size(grid: Grid) -> str:
    return f"{grid.shape} voxels of {' x '.join(f'{length:g}' for length in grid.spacing)} mm"


def _in_its_units(
    values: np.ndarray, source: Grid, target: Grid
) -> tuple[Float32[np.ndarray, "i j k"], np.float32, Box]:
    """The covered voxels as a transform left them, what stands outside of them, and where they lie."""
    found = _resampled(values, source, target)
    return (
        found.values * np.float32(found.unit) + np.float32(found.middle),
        np.float32(found.floor),
        found.box,
    )


def _z_scored(
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
