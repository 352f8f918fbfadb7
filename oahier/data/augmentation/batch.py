"""Augmentation of whole batches, on whatever device they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from oahier.data.augmentation.draws import BIAS_ORDER, THIN, AugmentationDraw, AugmentationRanges, draw
from oahier.types import Volume

Labels = UInt8[Tensor, "batch 1 i j k"]


class BatchAugmentation:
    """Random pose, contrast, bias field and noise for a batch of knees at once, after their transfer.

    Pose costs one trilinear resampling for the volumes (outside they have their minimum) and one nearest
    one for the label maps (outside they are 0), which follow. Along an axis of fewer than six voxels, which a
    pose would move out of the volume, the outermost slices go on instead. What is drawn for a
    knee depends on its seed only: neither on the batch that it comes in, nor on the device, nor on the number
    of workers (the values of the noise do depend on the kind of device).

    Args:
        ranges: how far volumes may be changed; mild when not given.
    """

    def __init__(self, ranges: AugmentationRanges | None = None) -> None:
        self.ranges = ranges or AugmentationRanges()

    def __call__(
        self,
        mri: Volume,
        cartilage: Labels | None,
        spacing: Float64[Tensor, "batch 3"],
        seed: Int64[Tensor, " batch"],
    ) -> tuple[Volume, Labels | None]:
        """Augment a batch; its tensors are left as they are.

        Args:
            mri: ``(batch, 1, i, j, k)``, z-scored.
            cartilage: label maps on the same grid, if there are some.
            spacing: ``(batch, 3)`` millimetres per voxel.
            seed: ``(batch,)``, one for each knee.

        Returns:
            volumes and label maps of the same shapes and types.
        """
        draws = [draw(self.ranges, value) for value in seed.tolist()]
        values = mri.float()  # half precision cannot tell neighbouring voxels of a grid apart
        floor = values.amin(dim=(1, 2, 3, 4), keepdim=True)
        raised = values - floor
        if self._moves:
            matrices = [
                _sampling_matrix(one, np.array(mri.shape[2:]), lengths)
                for one, lengths in zip(draws, spacing.cpu().numpy(), strict=True)
            ]
            theta = torch.from_numpy(np.stack(matrices)).to(values.device, values.dtype)
            grid = affine_grid(theta, list(mri.shape), align_corners=False)
            for axis, count in enumerate(reversed(mri.shape[2:])):
                if count < THIN:
                    grid[..., axis].clamp_(
                        1 / count - 1, 1 - 1 / count
                    )  # the outermost slices go on for ever
            raised = grid_sample(raised, grid, align_corners=False)
            if cartilage is not None:
                moved = grid_sample(cartilage.to(grid.dtype), grid, mode="nearest", align_corners=False)
                cartilage = moved.to(cartilage.dtype)
        return _change_intensities(raised, floor, draws).to(mri.dtype), cartilage

    @property
    def _moves(self) -> bool:
        ranges = self.ranges
        return max(ranges.degrees, ranges.scale, ranges.translation, ranges.flip) > 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ranges})"


def _sampling_matrix(
    one: AugmentationDraw, shape: np.ndarray, spacing: np.ndarray
) -> Float64[np.ndarray, "3 4"]:
    """Where a voxel is taken from, in the coordinates of ``grid_sample`` (k, j, i from -1 to 1)."""
    extent = shape * spacing
    inverse = one.rotation.T / one.scales
    shift = -one.rotation.T @ (one.shifts * extent)
    if one.flip:  # mirror first, then move
        inverse[0], shift[0] = -inverse[0], -shift[0]
    relative = inverse * extent[None, :] / extent[:, None]
    return np.concatenate([relative[::-1, ::-1], (2 * shift / extent)[::-1, None]], axis=1)


def _change_intensities(raised: Volume, floor: Tensor, draws: Sequence[AugmentationDraw]) -> Volume:
    """Bias field over the minimum, then contrast and noise of the z-scored values."""
    if any(one.bias.any() for one in draws):
        raised = raised * _bias_fields(draws, raised)
    mri = raised + floor
    if any(one.gamma != 1 for one in draws):
        gamma = mri.new_tensor([one.gamma for one in draws]).view(-1, 1, 1, 1, 1)
        mri = mri.sign() * mri.abs() ** gamma
    for row, one in zip(mri, draws, strict=True):
        if one.noise:
            generator = torch.Generator(mri.device).manual_seed(one.noise_seed)
            row.add_(torch.randn(row.shape, generator=generator, device=mri.device) * one.noise)
    return mri


def _bias_fields(draws: Sequence[AugmentationDraw], like: Tensor) -> Float[Tensor, "batch 1 i j k"]:
    """Exponentials of polynomials in coordinates from -1 to 1, summed axis by axis."""
    field = like.new_tensor(np.stack([one.bias_cube() for one in draws]))
    powers = torch.arange(BIAS_ORDER + 1, device=like.device)
    for count in reversed(like.shape[2:]):
        # TorchIO's coordinates: voxel centres, divided by the outermost one
        centres = torch.arange(count, device=like.device, dtype=like.dtype) - (count - 1) / 2
        basis = (centres / centres.abs().max().clamp_min(0.5))[None, :] ** powers[:, None]
        field = torch.tensordot(field, basis, dims=([3], [0])).movedim(3, 1)
    return field.exp()[:, None]
