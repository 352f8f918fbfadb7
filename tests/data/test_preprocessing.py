from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import torchio as tio
from scipy.ndimage import gaussian_filter1d

from oahier.data.bias_field import remove_bias
from oahier.data.preprocessing import PreparedKnee, Preprocessing, preprocess
from oahier.images import Grid, Image
from oahier.images.knee import KneeImages, read_knee
from oahier.images.resampling import target_grid

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
    prepared = preprocess(knee(TILTED, values), Preprocessing(shape, spacing))
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
    prepared = preprocess(knee(affine, values, labels), Preprocessing((16, 22, 28), (0.5, 0.75, 1.0)))
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
    prepared = preprocess(knee(np.eye(4), values, labels), Preprocessing((22, 22, 22), (1.9, 1.9, 1.9)))
    assert prepared.cartilage is not None
    assert set(np.unique(prepared.cartilage)) == {0, 2, 5}
    for label in (2, 5):
        volume = (prepared.cartilage == label).sum() * 1.9**3
        assert volume == pytest.approx((labels == label).sum(), rel=0.1)


def test_noise_is_smoothed_away_where_voxels_grow() -> None:
    values = np.random.default_rng(0).normal(size=(40, 40, 40)) + 20 * (np.indices((40, 40, 40))[0] > 19)
    coarse = preprocess(knee(np.eye(4), values), Preprocessing((10, 10, 10), (4.0, 4.0, 4.0))).mri.astype(
        float
    )
    plain = values[2::4, 2::4, 2::4] / values.std()
    assert coarse[:4].std() < 0.3 * plain[:4].std()


def test_a_volume_that_shows_nothing_on_the_new_grid() -> None:
    values = np.zeros((20, 20, 20))
    values[0, 0, 0] = 1
    with pytest.raises(ValueError, match="constant volume once resampled"):
        preprocess(knee(np.eye(4), values), Preprocessing((4, 4, 4), (1.0, 1.0, 1.0)))


def test_a_grid_whose_voxels_all_lie_outside() -> None:
    images = knee(np.eye(4), np.random.default_rng(0).normal(size=(4, 4, 4)))
    with pytest.raises(
        ValueError, match=r"no voxel of the grid of \(2, 4, 4\) voxels of 100 x 1 x 1 mm lies"
    ):
        preprocess(images, Preprocessing((2, 4, 4), (100.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    "values",
    [
        np.array([0.0, 1e38]),
        np.array([-3e38, 3e38]),
        np.array([1e-42, 3e-42]),
        np.array([1e7, 1e7 + 2]),
        np.array([2**30, 2**30 + 3], dtype=np.int32),
        np.array([2**63, 2**64 - 1], dtype=np.uint64),
        np.array([-(2**15), 2**15 - 1], dtype=np.int16),
        np.array([False, True]),
    ],
)
def test_intensities_of_any_size_are_z_scored(values: np.ndarray) -> None:
    """Half of the voxels dark, half bright: -1 and 1, whatever the numbers of the file."""
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    volume = values[np.indices((8, 8, 8)).sum(axis=0) % 2]
    images = KneeImages(Image(volume, Grid(volume.shape, np.eye(4))), None)
    mri = preprocess(images, Preprocessing((8, 8, 10), (1.0, 1.0, 1.0))).mri.astype(float)
    np.testing.assert_allclose(mri, np.where(mri > 0, 1, -1), atol=2e-3)
    assert (mri[:, :, 1:-1] > 0).mean() == 0.5
    assert (mri[:, :, [0, -1]] < 0).all()


@pytest.mark.parametrize("bright", [1.0, -1.0])
def test_float16_holds_whatever_is_cropped_away(bright: float) -> None:
    values = np.random.default_rng(0).normal(0, 1e-3, (24, 24, 24))
    values[0, 0, 0] = bright * 1e6
    values[12, 12, 12] = 0.1
    prepared = preprocess(knee(np.eye(4), values), Preprocessing((20, 20, 30), (1.0, 1.0, 1.0)))
    assert np.isfinite(prepared.mri).all()
    seen = prepared.mri[:, :, 3:27].astype(float)
    assert seen.max() == pytest.approx(0.1 / values[2:-2, 2:-2].std(), rel=0.35)


def by_torchio(images: KneeImages, settings: Preprocessing) -> PreparedKnee:
    """The same by scipy's Gaussian filter and TorchIO's resampling, each step on the whole volume."""
    source, grid = images.mri.grid, target_grid(images.mri.grid, settings.shape, settings.spacing)
    floor = float(images.mri.data.min())
    values = images.mri.data.astype(np.float32) - floor
    for axis, factor in enumerate(np.asarray(settings.spacing) / np.asarray(source.spacing)):
        if factor > 1.01:
            sigma = float(np.sqrt((factor**2 - 1) / (8 * np.log(2))))
            values = gaussian_filter1d(values, sigma, axis=axis, mode="nearest", truncate=3.0)
    parts = {"mri": tio.ScalarImage(tensor=torch.from_numpy(values)[None], affine=source.affine)}
    if images.cartilage is not None:
        labels = torch.from_numpy(images.cartilage.data)[None]
        parts["cartilage"] = tio.LabelMap(tensor=labels, affine=source.affine)
    resampled = tio.Resample((grid.shape, grid.affine))(tio.Subject(parts))
    mri = resampled["mri"].data[0].numpy()
    to_source = np.linalg.inv(source.affine) @ grid.affine
    box = []
    for axis in range(3):
        index = to_source[axis, axis] * np.arange(grid.shape[axis]) + to_source[axis, 3]
        inside = np.flatnonzero((index >= -0.5) & (index <= source.shape[axis] - 0.5))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    covered = mri[tuple(box)]
    mri = ((mri - covered.mean()) / covered.std()).astype(np.float16)
    cartilage = None
    if images.cartilage is not None:
        cartilage = resampled["cartilage"].data[0].numpy().astype(np.uint8)
    return PreparedKnee(mri, cartilage, grid.affine)


@pytest.mark.parametrize("seed", range(25))
def test_matrices_do_what_filtering_and_resampling_do(seed: int) -> None:
    """Whatever grows, shrinks, is cropped or padded; to the rounding of float16."""
    generator = np.random.default_rng(seed)
    source, sizes = generator.integers(5, 24, 3), generator.integers(3, 30, 3)
    shape = tuple((sizes + (sizes + source) % 2).tolist())  # else a voxel lies halfway between two
    lengths, spacing = generator.uniform(0.4, 3.0, 3), tuple(generator.uniform(0.4, 5.0, 3).tolist())
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.15, -0.1) @ np.diag(lengths), [3, 4, 5])
    labels = generator.integers(0, 6, source).astype(np.uint8)
    images = knee(affine, generator.gamma(2.0, 100.0, source), labels)
    wanted = Preprocessing(shape, spacing)
    found = preprocess(images, wanted)
    expected = by_torchio(images, wanted)
    difference = np.abs(found.mri.astype(np.float32) - expected.mri.astype(np.float32))
    assert difference.max() < 4e-3
    assert found.cartilage is not None
    np.testing.assert_array_equal(found.cartilage, expected.cartilage)
    np.testing.assert_allclose(found.affine, expected.affine)


@pytest.mark.parametrize("name", ["dess-volunteer/dess.nii.gz", "mese-volunteer/te13.nii.gz"])
def test_real_knees_come_out_as_by_torchio(shared_data: Path, name: str) -> None:
    images, _ = read_knee(shared_data / name, None)
    assert images is not None
    wanted = Preprocessing((48, 80, 80), (2.8, 1.8, 1.8))
    found, expected = preprocess(images, wanted), by_torchio(images, wanted)
    np.testing.assert_allclose(found.mri.astype(np.float32), expected.mri.astype(np.float32), atol=4e-3)


def test_a_mirrored_knee_still_knows_where_its_voxels_were() -> None:
    generator = np.random.default_rng(0)
    values, labels = generator.normal(size=(20, 18, 16)), generator.integers(0, 6, (20, 18, 16))
    images = knee(TILTED, values, labels.astype(np.uint8))
    wanted = Preprocessing((14, 12, 16), (1.1, 0.9, 1.2), mirror_left=True)
    assert wanted.mirrors("left")
    assert not wanted.mirrors("right")
    plain, mirrored = preprocess(images, wanted), preprocess(images, wanted, mirror=True)
    np.testing.assert_array_equal(mirrored.mri, plain.mri[::-1])
    assert plain.cartilage is not None
    np.testing.assert_array_equal(mirrored.cartilage, plain.cartilage[::-1])
    for index in ((0, 0, 0), (3, 5, 7), (13, 11, 15)):
        there = (13 - index[0], *index[1:])
        np.testing.assert_allclose(
            nib.affines.apply_affine(mirrored.affine, index),
            nib.affines.apply_affine(plain.affine, there),
            atol=1e-9,
        )
    assert np.linalg.det(mirrored.affine) < 0 < np.linalg.det(plain.affine)


def test_entry_names_follow_from_content_and_settings_only() -> None:
    settings = Preprocessing((8, 8, 8), (1.0, 1.0, 1.0))
    names = {
        settings.entry_name("a", None, mirror=False),
        settings.entry_name("a", None, mirror=True),
        settings.entry_name("a", "b", mirror=False),
        settings.entry_name("b", None, mirror=False),
        Preprocessing((8, 8, 9), (1.0, 1.0, 1.0)).entry_name("a", None, mirror=False),
        Preprocessing((8, 8, 8), (1.0, 1.0, 1.1)).entry_name("a", None, mirror=False),
        Preprocessing((8, 8, 8), (1.0, 1.0, 1.0), bias_correction=True).entry_name("a", None, mirror=False),
    }
    assert len(names) == 7
    with_mirror = Preprocessing((8, 8, 8), (1.0, 1.0, 1.0), mirror_left=True)  # a right knee is the same
    assert with_mirror.entry_name("a", None, mirror=False) in names


def test_settings_of_a_newer_version_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown setting \['denoised'\]"):
        Preprocessing.from_dict({"shape": [1, 1, 1], "spacing": [1, 1, 1], "denoised": True})


@pytest.mark.parametrize("axes", [(1, 1, 1), (-1, 1, -1)])
def test_a_known_bias_field_is_removed(axes: tuple[int, ...]) -> None:
    """On a volume of three tissues, what N4 leaves is far flatter than what it was given."""
    i, j, k = np.indices((24, 30, 28)) / np.array([24, 30, 28])[:, None, None, None]
    tissue = 100.0 * (1 + (np.sin(9 * i) * np.sin(8 * j) * np.sin(7 * k) > 0.2))
    tissue[(i - 0.5) ** 2 + (j - 0.5) ** 2 + (k - 0.5) ** 2 > 0.2] = 0
    field = np.exp(0.9 * (i - 0.5) + 1.2 * (j - 0.5) * (k - 0.2))
    noise = np.random.default_rng(0).normal(0, 1, tissue.shape)
    turn = tuple(slice(None, None, step) for step in axes)
    image = knee(np.diag([4.0, 4.0, 4.0, 1.0]), np.maximum(tissue * field + noise, 0)).mri
    stored = Image(np.asfortranarray(image.data[turn])[turn], image.grid)  # the same, otherwise in memory
    corrected = remove_bias(stored)
    inside = tissue > 0

    def against(values: np.ndarray, truth: np.ndarray) -> float:
        return float(np.corrcoef(np.log(values[inside]), np.log(truth[inside]))[0, 1])

    assert against(stored.data, tissue) < 0.9
    assert against(corrected, tissue) > 0.97
    with np.errstate(invalid="ignore"):  # 0 / 0 around the tissue
        assert against(stored.data / corrected, field) > 0.97
    np.testing.assert_array_equal(corrected, remove_bias(stored))


def test_a_volume_without_foreground_has_no_bias_field() -> None:
    values = np.zeros((8, 8, 8))
    with pytest.raises(ValueError, match="bias correction: expected voxels above the background"):
        remove_bias(knee(np.eye(4), values).mri)


def test_bias_correction_is_part_of_preprocessing() -> None:
    values = np.random.default_rng(0).gamma(2.0, 100.0, (16, 16, 16))
    images = knee(np.diag([4.0, 4.0, 4.0, 1.0]), values * np.linspace(0.5, 1.5, 16))
    plain = preprocess(images, Preprocessing((12, 12, 12), (4.0, 4.0, 4.0)))
    corrected = preprocess(images, Preprocessing((12, 12, 12), (4.0, 4.0, 4.0), bias_correction=True))
    assert not np.array_equal(plain.mri, corrected.mri)
    assert np.isfinite(corrected.mri.astype(np.float32)).all()
