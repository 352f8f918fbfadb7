"""The same draws applied by TorchIO, knee by knee; the only file that names its random transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchio as tio
from torch import Tensor

from oahier.data.augmentation.draws import BIAS_ORDER, THIN, AugmentationRanges, draw
from oahier.images import Affine


class TorchIOAugmentation:
    """What :class:`BatchAugmentation` does, by TorchIO's transforms in the loading processes.

    The same ranges and the same draws: pose, contrast and bias field agree with it up to interpolation at
    the border, noise in distribution. Slower, but it needs no time of the training device, and is a
    starting point for transforms of your own: anything that maps a TorchIO Subject to a Subject can be the
    data module's ``augmentation``.

    Args:
        ranges: how far volumes may be changed; mild when not given.
    """

    def __init__(self, ranges: AugmentationRanges | None = None) -> None:
        self.ranges = ranges or AugmentationRanges()

    def __call__(self, subject: tio.Subject) -> tio.Subject:
        """Augment a subject that has a ScalarImage ``mri`` and perhaps LabelMaps; seeded by torch."""
        one = draw(self.ranges, int(torch.randint(2**62, ()).item()))
        image: Any = subject["mri"]
        if min(image.spatial_shape) < THIN:
            raise ValueError(
                f"augmentation: expected {THIN} voxels or more along each axis, got {image.spatial_shape}: "
                "TorchIO would move thin volumes out of themselves; use BatchAugmentation ('mild')"
            )
        extent = np.array(image.spatial_shape) * np.array(image.spacing)
        steps: list[Any] = [tio.Flip(0)] if one.flip else []
        steps.append(
            tio.Affine(
                scales=tuple(one.scales.tolist()),
                degrees=tuple(np.rad2deg(one.angles).tolist()),
                translation=tuple((one.shifts * extent).tolist()),
            )
        )
        if one.bias.any():
            floor = float(image.data.min())
            steps += [
                tio.Lambda(lambda values: values - floor, types_to_apply=[tio.INTENSITY]),
                tio.BiasField(one.bias.tolist(), BIAS_ORDER),
                tio.Lambda(lambda values: values + floor, types_to_apply=[tio.INTENSITY]),
            ]
        if one.gamma != 1:
            steps.append(tio.Gamma(one.gamma))
        if one.noise:
            steps.append(tio.Noise(0.0, one.noise, one.noise_seed))
        return _in_voxel_axes(subject, tio.Compose(steps))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ranges})"


def _in_voxel_axes(subject: tio.Subject, transform: Callable[[Any], Any]) -> tio.Subject:
    """Apply a transform along the axes of the voxels, whatever the orientation of the scan."""
    images: dict[str, Any] = subject.get_images_dict(intensity_only=False)
    affines = {name: image.affine for name, image in images.items()}
    for image in images.values():
        image.affine = np.diag([*image.spacing, 1.0])
    transformed: Any = transform(subject)
    for name, affine in affines.items():
        transformed[name].affine = affine
    moved: tio.Subject = transformed
    return moved


def augment(
    augmentation: Callable[[Any], Any], mri: Tensor, cartilage: Tensor | None, affine: Affine
) -> tuple[Tensor, Tensor | None]:
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
