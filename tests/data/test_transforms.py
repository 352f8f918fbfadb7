from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
import torchio as tio
from scipy.ndimage import map_coordinates

from oahier.data.content import KneeImages
from oahier.data.reading import Grid, Image
from oahier.data.transforms import MildAugmentation, RandomPose, augment, preprocess, target_grid

TILTED = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, 0.15, -0.1) @ np.diag([0.8, 0.7, 1.4]), [-25, 40, 12]
)


def coordinates(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Millimetres of every voxel centre, ``(i, j, k, 3)``."""
    return nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))


def knee(affine: np.ndarray, values: np.ndarray, labels: np.ndarray | None = None) -> KneeImages:
    grid = Grid(values.shape, affine)
    return KneeImages(Image(values.astype(np.float32), grid), None if labels is None else Image(labels, grid))


@pytest.mark.parametrize("spacing", [(0.6, 0.6, 1.1), (1.9, 1.2, 2.3)])
@pytest.mark.parametrize("shape", [(16, 18, 14), (30, 40, 36)])
def test_the_affine_says_where_every_voxel_came_from(
    shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    """A volume whose values are millimetres keeps them, whatever the grid: inside, resampling is exact."""
    direction = np.array([0.4, -0.7, 0.6])
    source = (32, 36, 28)
    values = coordinates(source, TILTED) @ direction
    prepared = preprocess(knee(TILTED, values), shape, spacing)
    assert prepared.mri.shape == shape
    assert prepared.mri.dtype == np.float16
    truth = coordinates(shape, prepared.affine) @ direction
    index = nib.affines.apply_affine(
        np.linalg.inv(TILTED) @ prepared.affine, np.moveaxis(np.indices(shape), 0, -1)
    )
    margin = 4
    inside = ((index >= margin) & (index <= np.array(source) - 1 - margin)).all(axis=-1)
    assert inside.sum() > 100
    slope, intercept = np.polyfit(truth[inside], prepared.mri[inside].astype(float), 1)
    assert slope > 0
    np.testing.assert_allclose(prepared.mri[inside], slope * truth[inside] + intercept, atol=6e-3)


def test_target_grid_keeps_axes_and_centre() -> None:
    source = Grid((10, 12, 14), TILTED)
    grid = target_grid(source, (7, 20, 9), (1.0, 0.5, 2.0))
    np.testing.assert_allclose(grid.spacing, (1.0, 0.5, 2.0))
    centres = [item.affine @ [*((np.array(item.shape) - 1) / 2), 1] for item in (source, grid)]
    np.testing.assert_allclose(*centres)
    cosines = (source.affine[:3, :3] / source.spacing).T @ (grid.affine[:3, :3] / grid.spacing)
    np.testing.assert_allclose(cosines, np.eye(3), atol=1e-9)


def test_as_torchio_crops_pads_and_normalises() -> None:
    """On the source's own spacing this is CropOrPad and ZNormalization over what the scan covers."""
    generator = np.random.default_rng(0)
    values = generator.gamma(2.0, 100.0, (20, 22, 24)).astype(np.float32)
    labels = generator.integers(0, 6, values.shape).astype(np.uint8)
    affine = np.diag([0.5, 0.75, 1.0, 1.0])
    subject = tio.Subject(
        mri=tio.ScalarImage(tensor=torch.from_numpy(values)[None], affine=affine),
        cartilage=tio.LabelMap(tensor=torch.from_numpy(labels)[None], affine=affine),
    )
    expected = tio.Compose([tio.CropOrPad((16, 22, 28)), tio.ZNormalization(lambda x: x != 0)])(subject)
    prepared = preprocess(knee(affine, values, labels), (16, 22, 28), (0.5, 0.75, 1.0))
    covered = expected.mri.data[0].numpy()[:, :, 2:26]
    np.testing.assert_allclose(prepared.mri[:, :, 2:26], covered, atol=5e-3)
    assert prepared.cartilage is not None
    np.testing.assert_array_equal(prepared.cartilage, expected.cartilage.data[0].numpy())
    np.testing.assert_allclose(prepared.affine, expected.mri.affine, atol=1e-9)
    scan = prepared.mri[:, :, 2:26].astype(np.float64)
    assert scan.mean() == pytest.approx(0, abs=1e-3)
    assert scan.std() == pytest.approx(1, abs=1e-3)
    outside = prepared.mri[:, :, :2].astype(np.float64)
    assert np.ptp(outside) == 0
    assert outside.max() == pytest.approx((values.min() - values[2:18].mean()) / values[2:18].std(), abs=0.01)


def test_label_maps_keep_their_ids_and_their_volume() -> None:
    values = np.random.default_rng(0).normal(size=(40, 40, 40))
    labels = np.zeros(values.shape, np.uint8)
    distance = np.linalg.norm(np.indices(values.shape) - 19.5, axis=0)
    labels[np.abs(distance - 14) < 1.5] = 2
    labels[distance < 10] = 5
    prepared = preprocess(knee(np.eye(4), values, labels), (22, 22, 22), (1.9, 1.9, 1.9))
    assert prepared.cartilage is not None
    assert set(np.unique(prepared.cartilage)) == {0, 2, 5}
    for label in (2, 5):
        volume = (prepared.cartilage == label).sum() * 1.9**3
        assert volume == pytest.approx((labels == label).sum(), rel=0.1)


def test_noise_is_smoothed_away_where_voxels_grow() -> None:
    values = np.random.default_rng(0).normal(size=(40, 40, 40)) + 20 * (np.indices((40, 40, 40))[0] > 19)
    coarse = preprocess(knee(np.eye(4), values), (10, 10, 10), (4.0, 4.0, 4.0)).mri.astype(float)
    plain = values[2::4, 2::4, 2::4] / values.std()
    assert coarse[:4].std() < 0.3 * plain[:4].std()


def test_a_volume_that_shows_nothing_on_the_new_grid() -> None:
    values = np.zeros((20, 20, 20))
    values[0, 0, 0] = 1
    with pytest.raises(ValueError, match="constant volume once resampled"):
        preprocess(knee(np.eye(4), values), (4, 4, 4), (1.0, 1.0, 1.0))


def _reference_affine(transform: RandomPose, subject: tio.Subject, seed: int) -> torch.Tensor:
    """The same draw, applied to the millimetres of every voxel, and sampled by scipy."""
    torch.manual_seed(seed)
    torch.rand(1)  # TorchIO asks first whether to apply the transform at all
    bounds = (np.deg2rad(transform.degrees), transform.scale, transform.translation)
    angles, scales, shifts = ((2 * torch.rand(3, dtype=torch.float64) - 1) * bound for bound in bounds)
    matrix = np.eye(3)
    for axis, angle in enumerate(angles.tolist()):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    matrix = matrix * (1 + scales.numpy())
    mri = subject["mri"]
    extent = np.array(mri.spatial_shape) * mri.spacing
    centre = ((np.array(mri.spatial_shape) - 1) / 2) * mri.spacing
    points = np.moveaxis(np.indices(mri.spatial_shape), 0, -1) * mri.spacing
    source = (points - centre) @ matrix.T + shifts.numpy() * extent + centre
    index = np.moveaxis(source / mri.spacing, -1, 0)
    floor = float(mri.data.min())
    moved = map_coordinates(mri.data[0].numpy() - floor, index, order=1, mode="grid-constant") + floor
    return torch.from_numpy(moved)


def test_random_pose_is_the_affine_it_says() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(14, 18, 22)).astype(np.float32)
    subject = tio.Subject(
        mri=tio.ScalarImage(tensor=torch.from_numpy(values)[None], affine=np.diag([2.0, 1, 1.5, 1]))
    )
    transform = RandomPose(20.0, 0.2, 0.1)
    expected = _reference_affine(transform, subject, seed=3)
    torch.manual_seed(3)
    moved = transform(subject)["mri"].data[0]
    torch.testing.assert_close(moved.double(), expected.double(), atol=2e-3, rtol=0)
    assert not torch.equal(moved, subject["mri"].data[0])


def test_the_label_map_follows_the_volume() -> None:
    labels = torch.zeros((1, 24, 24, 24), dtype=torch.uint8)
    labels[:, 6:18, 8:14, 9:19] = 4
    torch.manual_seed(0)
    mri, moved = augment(RandomPose(15.0, 0.1, 0.1), labels.half(), labels, np.diag([2.0, 1.0, 1.0, 1.0]))
    assert moved is not None
    assert moved.dtype == torch.uint8
    assert set(moved.unique().tolist()) == {0, 4}
    assert not torch.equal(moved, labels)
    overlap = ((mri > 2) & (moved == 4)).sum() / ((mri > 2) | (moved == 4)).sum()
    assert overlap > 0.95


def test_mild_augmentation_is_mild_and_leaves_its_input() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 1, 5, 6, 6), size=(24, 32, 32), mode="trilinear")[
        0
    ]
    before = smooth.clone()
    transform = MildAugmentation()
    results = [augment(transform, smooth, None, np.eye(4))[0] for _ in range(6)]
    torch.testing.assert_close(smooth, before)
    for result in results:
        assert result.shape == smooth.shape
        correlation = torch.corrcoef(torch.stack([result.flatten(), smooth.flatten()]))[0, 1]
        assert 0.4 < correlation < 0.9999
    assert not torch.equal(results[0], results[1])
    assert "degrees=5.0" in repr(transform)


def test_an_augmentation_may_not_change_the_shape() -> None:
    with pytest.raises(ValueError, match=r"keep the shape \(1, 8, 8, 8\), got \(1, 4, 4, 4\)"):
        augment(tio.CropOrPad(4), torch.ones(1, 8, 8, 8), None, np.eye(4))
