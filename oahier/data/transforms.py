"""Deterministic preprocessing and random augmentation; the only file that names TorchIO's transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchio as tio
from jaxtyping import Float16, Float32, UInt8
from torchio.transforms.augmentation import RandomTransform

from oahier.data.content import KneeImages
from oahier.data.reading import Affine, Grid


@dataclass(frozen=True, eq=False)
class PreparedKnee:
    """What the cache stores: the z-scored volume, its label map and their common affine."""

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


def preprocess(images: KneeImages, shape: tuple[int, ...], spacing: tuple[float, ...]) -> PreparedKnee:
    """Resample once onto the target grid (which crops and pads about the centre), then z-score.

    The volume is smoothed before it is made coarser (Cardoso et al. 2015, doi:10.1007/978-3-319-24571-3_81),
    and sampled linearly; the label map takes the nearest voxel, which keeps the volume of thin cartilage on
    average. Mean and standard deviation are taken over the voxels that the scan covers; what lies outside
    it gets the scan's minimum.

    Raises:
        ValueError: nothing is left to see on the target grid.
    """
    grid = target_grid(images.mri.grid, shape, spacing)
    floor = float(images.mri.data.min())
    values = smooth_for(images.mri.data.astype(np.float32) - floor, images.mri.grid.spacing, spacing)
    images_by_name = {"mri": _scalar(values, images.mri.grid)}
    if images.cartilage is not None:
        images_by_name["cartilage"] = _labels(images.cartilage.data, images.mri.grid)
    subject: Any = tio.Resample((grid.shape, grid.affine))(tio.Subject(images_by_name))
    resampled = subject["mri"].data[0].numpy()
    covered = resampled[_covered(images.mri.grid, grid)]
    deviation = float(covered.std(dtype=np.float64))
    if not deviation > 0:
        raise ValueError(f"constant volume once resampled to {shape} voxels of {spacing} mm")
    mri = ((resampled - float(covered.mean(dtype=np.float64))) / deviation).astype(np.float16)
    cartilage = None
    if images.cartilage is not None:
        cartilage = np.ascontiguousarray(subject["cartilage"].data[0].numpy().round().astype(np.uint8))
    return PreparedKnee(np.ascontiguousarray(mri), cartilage, grid.affine)


def smooth_for(
    values: Float32[np.ndarray, "i j k"], spacing: tuple[float, ...], target: tuple[float, ...]
) -> Float32[np.ndarray, "i j k"]:
    """Gaussian smoothing along the axes that become coarser; variance ``(f^2 - 1) / (8 ln 2)`` voxels."""
    from scipy.ndimage import gaussian_filter1d

    for axis, factor in enumerate(np.asarray(target) / np.asarray(spacing)):
        if factor > 1.01:
            sigma = float(np.sqrt((factor**2 - 1) / (8 * np.log(2))))
            values = gaussian_filter1d(values, sigma, axis=axis, mode="nearest", truncate=3.0)
    return values


def _covered(source: Grid, target: Grid) -> tuple[slice, ...]:
    """The box of the target grid whose voxel centres lie inside the scan."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    box = []
    for axis in range(3):
        inside = to_source[axis, axis] * np.arange(target.shape[axis]) + to_source[axis, 3]
        hits = np.flatnonzero((inside >= -0.5) & (inside <= source.shape[axis] - 0.5))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)


def augment(
    augmentation: Callable[[Any], Any], mri: torch.Tensor, cartilage: torch.Tensor | None, affine: Affine
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Apply a TorchIO transform, or anything that maps a Subject to a Subject.

    The subject has a ScalarImage ``mri`` (float32, z-scored) and, if the knee has one, a LabelMap
    ``cartilage``.

    Raises:
        ValueError: the grid is another one afterwards.
    """
    matrix = np.asarray(affine)
    subject = tio.Subject(mri=tio.ScalarImage(tensor=mri.float(), affine=matrix))
    if cartilage is not None:
        subject.add_image(tio.LabelMap(tensor=cartilage, affine=matrix), "cartilage")
    result = augmentation(subject)
    shape = tuple(result["mri"].data.shape)
    if shape != tuple(mri.shape):
        raise ValueError(
            f"augmentation: expected it to keep the shape {tuple(mri.shape)}, got {shape}; "
            "crop and resample by the data module's shape and spacing"
        )
    labels = None if cartilage is None else result["cartilage"].data.round().to(torch.uint8)
    return result["mri"].data.float(), labels


class MildAugmentation:
    """Small random pose and contrast changes; the label map follows.

    No flip: it would turn medial into lateral. No elastic deformation: it costs seconds on a full-size knee
    and bends the joint space that the grade is read from.

    Args:
        degrees: largest rotation about each axis.
        scale: largest relative change of size along each axis.
        translation: largest shift along each axis, as a share of the field of view.
        noise: largest standard deviation of the added noise, in standard deviations of the volume.
        gamma: largest absolute logarithm of the contrast exponent.
    """

    def __init__(
        self,
        degrees: float = 5.0,
        scale: float = 0.05,
        translation: float = 0.03,
        noise: float = 0.1,
        gamma: float = 0.15,
    ) -> None:
        self._transform = tio.Compose(
            [
                RandomPose(degrees, scale, translation),
                tio.RandomGamma(log_gamma=gamma, p=0.5),
                tio.RandomNoise(std=(0.0, noise), p=0.5),
            ]
        )
        self._repr = f"{type(self).__name__}({degrees=}, {scale=}, {translation=}, {noise=}, {gamma=})"

    def __call__(self, subject: tio.Subject) -> tio.Subject:
        transformed: tio.Subject = self._transform(subject)
        return transformed

    def __repr__(self) -> str:
        return self._repr


class RandomPose(RandomTransform, tio.SpatialTransform):
    """Rotate, scale and shift about the centre, with one trilinear resampling in torch.

    What TorchIO's ``RandomAffine`` does, several times faster on small volumes: nothing is converted to
    SimpleITK and back. Outside, a volume has its minimum and a label map 0.

    Args:
        degrees: largest rotation about each axis.
        scale: largest relative change of size along each axis.
        translation: largest shift along each axis, as a share of the field of view.
        arguments: see TorchIO's ``Transform``, for example ``p``.
    """

    def __init__(self, degrees: float, scale: float, translation: float, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self.degrees, self.scale, self.translation = degrees, scale, translation

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        angles, scales, shifts = (
            (2 * torch.rand(3, dtype=torch.float64) - 1) * bound
            for bound in (np.deg2rad(self.degrees), self.scale, self.translation)
        )
        matrix = _rotation(angles) * (1 + scales)
        grids: dict[tuple[int, ...], torch.Tensor] = {}
        for image in self.get_images(subject):
            extent = torch.tensor(image.spatial_shape) * torch.tensor(image.spacing, dtype=torch.float64)
            if image.spatial_shape not in grids:
                grids[image.spatial_shape] = _sampling_grid(matrix, shifts, extent, image.spatial_shape)
            image.set_data(_sample(image, grids[image.spatial_shape]))
        return subject


def _rotation(angles: torch.Tensor) -> torch.Tensor:
    """Rotation about i, then j, then k, by angles in radians."""
    matrix = torch.eye(3, dtype=torch.float64)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, dtype=torch.float64)
        turn[first, first] = turn[second, second] = angle.cos()
        turn[second, first] = angle.sin()
        turn[first, second] = -angle.sin()
        matrix = turn @ matrix
    return matrix


def _sampling_grid(
    matrix: torch.Tensor, shifts: torch.Tensor, extent: torch.Tensor, shape: tuple[int, ...]
) -> torch.Tensor:
    """Where every voxel is taken from, in the coordinates of ``grid_sample`` (k, j, i from -1 to 1)."""
    relative = matrix * extent[None, :] / extent[:, None]
    theta = torch.cat([relative.flip(0, 1), 2 * shifts.flip(0)[:, None]], dim=1)
    return torch.nn.functional.affine_grid(theta[None].float(), [1, 1, *shape], align_corners=False)


def _sample(image: tio.Image, grid: torch.Tensor) -> torch.Tensor:
    data = image.data
    values = data.float()
    if isinstance(image, tio.LabelMap):
        sampled = torch.nn.functional.grid_sample(values[None], grid, mode="nearest", align_corners=False)
        return sampled[0].to(data.dtype)
    floor = values.min()
    return torch.nn.functional.grid_sample((values - floor)[None], grid, align_corners=False)[0] + floor


def _scalar(values: np.ndarray, grid: Grid) -> Any:
    return tio.ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(values))[None], affine=grid.affine)


def _labels(values: np.ndarray, grid: Grid) -> Any:
    return tio.LabelMap(tensor=torch.from_numpy(np.ascontiguousarray(values))[None], affine=grid.affine)
