"""Random changes of training volumes: the batch version against TorchIO's own transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchio as tio
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier.data.augmentation import AugmentationRanges, BatchAugmentation, TorchIOAugmentation
from oahier.data.augmentation.draws import draw
from oahier.data.augmentation.subject import augment

SPACING = torch.tensor([[2.0, 1.0, 1.5]], dtype=torch.float64)
WIDE = AugmentationRanges(degrees=20.0, scale=0.2, translation=0.1, flip=0.5, gamma=0.3, bias=0.3, noise=0.0)


def smooth_volumes(count: int = 1, shape: tuple[int, ...] = (24, 31, 40)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((count, 1, 6, 7, 8), generator=generator)
    volumes = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")
    return (volumes - volumes.mean()) / volumes.std()


def seed_seen_by_torchio(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    drawn = torch.randint(2**62, (1,))
    torch.manual_seed(seed)
    return drawn


@pytest.mark.parametrize("seed", range(8))
def test_pose_and_contrast_are_those_of_torchio(seed: int) -> None:
    """Voxels are equal away from the border, where ITK repeats the last half voxel; labels everywhere."""
    mri = smooth_volumes()
    labels = (mri > 0.5).to(torch.uint8) * 4
    seen = seed_seen_by_torchio(seed)
    expected, expected_labels = augment(
        TorchIOAugmentation(WIDE), mri[0], labels[0], np.diag([2.0, 1.0, 1.5, 1.0])
    )
    found, found_labels = BatchAugmentation(WIDE)(mri, labels, SPACING, seen)
    assert expected_labels is not None
    assert found_labels is not None
    assert torch.equal(found_labels[0], expected_labels)
    assert found_labels.dtype == torch.uint8
    difference = (found[0] - expected).abs()
    assert difference.median() < 1e-5
    assert (difference > 1e-3).float().mean() < 0.2  # the half-voxel shell about the moved field of view
    assert (expected - mri[0]).abs().mean() > 0.3


def test_a_flip_and_a_shift_go_the_way_they_say() -> None:
    mri = torch.zeros(1, 1, 20, 20, 20)
    mri[0, 0, 4, 10, 10] = 1
    flip = BatchAugmentation(
        AugmentationRanges(degrees=0.0, scale=0.0, translation=0.0, flip=1.0, gamma=0.0, bias=0.0, noise=0.0)
    )
    moved, _ = flip(mri, None, SPACING, torch.tensor([5]))
    torch.testing.assert_close(moved, mri.flip(2), atol=1e-5, rtol=0)
    ranges = AugmentationRanges(degrees=0.0, scale=0.0, translation=0.2, gamma=0.0, bias=0.0, noise=0.0)
    shifted, _ = BatchAugmentation(ranges)(mri, None, SPACING, torch.tensor([5]))
    centre = (torch.stack(torch.where(shifted[0, 0] > 0)).double() * shifted[shifted > 0]).sum(
        1
    ) / shifted.sum()
    np.testing.assert_allclose(centre.numpy() - [4, 10, 10], 20 * draw(ranges, 5).shifts, atol=1e-4)


def test_a_knee_is_changed_the_same_in_any_batch() -> None:
    mri = smooth_volumes(3)
    ranges = AugmentationRanges(noise=0.3)
    seeds = torch.tensor([11, 2**61, 13])
    together, _ = BatchAugmentation(ranges)(mri, None, SPACING.expand(3, 3), seeds)
    for row in range(3):
        alone, _ = BatchAugmentation(ranges)(mri[row : row + 1], None, SPACING, seeds[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)
    assert not torch.allclose(together[0] - mri[0], together[1] - mri[1])


def test_inputs_and_random_states_are_left_alone() -> None:
    mri, labels = smooth_volumes(2), torch.ones((2, 1, 24, 31, 40), dtype=torch.uint8)
    before = mri.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    BatchAugmentation(AugmentationRanges(noise=0.5))(mri, labels, SPACING.expand(2, 3), torch.tensor([1, 2]))
    assert torch.equal(mri, before)
    assert labels.all()
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_the_default_is_mild() -> None:
    mri = smooth_volumes(6)
    changed, _ = BatchAugmentation()(mri, None, SPACING.expand(6, 3), torch.arange(6))
    for row in range(6):
        correlation = torch.corrcoef(torch.stack([mri[row].flatten(), changed[row].flatten()]))[0, 1]
        assert 0.4 < correlation < 0.9999


def test_the_bias_field_is_one_at_zero_and_smooth() -> None:
    ranges = AugmentationRanges(degrees=0.0, scale=0.0, translation=0.0, gamma=0.0, bias=0.4, noise=0.0)
    ones = torch.ones(1, 1, 16, 18, 20)
    ones[0, 0, 0, 0, 0] = 0  # the floor
    fields = [BatchAugmentation(ranges)(ones, None, SPACING, torch.tensor([seed]))[0] for seed in range(12)]
    changed = [field for field in fields if not torch.equal(field, ones)]
    assert 2 <= len(changed) <= 10  # half of the volumes
    for field in changed:
        assert field[0, 0, 0, 0, 0] == 0
        steps = field[0, 0, 2:].diff(dim=0).abs()
        assert steps.max() < 0.5 * (field[0, 0, 2:].max() - field[0, 0, 2:].min())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1))
def test_draws_stay_in_their_ranges(seed: int) -> None:
    one = draw(WIDE, seed)
    assert np.abs(np.rad2deg(one.angles)).max() <= 20 + 1e-9
    assert np.abs(one.scales - 1).max() <= 0.2
    assert np.abs(one.shifts).max() <= 0.1
    assert abs(np.log(one.gamma)) <= 0.3 + 1e-9
    assert np.abs(one.bias).max() <= 0.3
    assert one.noise == 0
    np.testing.assert_allclose(one.rotation @ one.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(one.rotation) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "value"), [("degrees", -1.0), ("scale", 1.0), ("flip", 1.5), ("noise", float("nan"))]
)
def test_ranges_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"augmentation: expected {name}"):
        AugmentationRanges(**{name: value})


def test_an_augmentation_may_not_change_the_shape() -> None:
    with pytest.raises(ValueError, match=r"keep the shape \(1, 8, 8, 8\), got \(1, 4, 4, 4\)"):
        augment(tio.CropOrPad(4), torch.ones(1, 8, 8, 8), None, np.eye(4))


def test_torchio_keeps_the_affine_of_an_oblique_scan() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * [2.0, 1.0, 1.5]
    mri = smooth_volumes()[0]
    subject = tio.Subject(mri=tio.ScalarImage(tensor=mri, affine=affine))
    torch.manual_seed(3)
    result = TorchIOAugmentation()(subject)
    np.testing.assert_allclose(result["mri"].affine, affine)
    torch.manual_seed(3)
    straight, _ = augment(TorchIOAugmentation(), mri, None, np.diag([2.0, 1.0, 1.5, 1.0]))
    torch.testing.assert_close(result["mri"].data, straight, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_moves_voxels_to_the_same_places(dtype: torch.dtype) -> None:
    """Coordinates of a grid of 40 voxels do not fit half precision: they are computed in single."""
    mri = smooth_volumes()
    labels = (mri > 0.5).to(torch.uint8) * 4
    expected, moved = BatchAugmentation(WIDE)(mri, labels, SPACING, torch.tensor([3]))
    found, found_labels = BatchAugmentation(WIDE)(mri.to(dtype), labels, SPACING, torch.tensor([3]))
    assert found.dtype == dtype
    assert torch.equal(found_labels, moved)
    assert (found.float() - expected).abs().max() < 0.05


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_volumes_of_few_slices_stay_in_themselves(count: int, axis: int) -> None:
    """A pose would move them out of their own slices: half of the intensities were lost."""
    shape, spacing = [32, 32, 32], [1.5, 1.5, 1.5]
    shape[axis], spacing[axis] = count, 3.0
    volume = torch.rand(8, 1, *shape, generator=torch.Generator().manual_seed(0)) + 1
    volume[:, :, 0, 0, 0] = 0
    labels = torch.ones_like(volume, dtype=torch.uint8)
    augmentation = BatchAugmentation(AugmentationRanges(gamma=0.0, bias=0.0, noise=0.0))
    moved, moved_labels = augmentation(
        volume, labels, torch.tensor([spacing] * 8, dtype=torch.float64), torch.arange(8)
    )
    assert moved_labels is not None
    assert moved.mean() > 0.9 * volume.mean()
    assert moved_labels.float().mean() > 0.9
    subject = tio.Subject(mri=tio.ScalarImage(tensor=volume[0]))
    with pytest.raises(ValueError, match="expected 6 voxels or more along each axis, got"):
        TorchIOAugmentation()(subject)
