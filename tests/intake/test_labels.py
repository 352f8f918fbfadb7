from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oahier.images import Grid, Image, UnreadableImage, read_image
from oahier.intake import LabelIds
from oahier.intake.label_maps import OAI_DESS_IDS, resampled
from oahier.types import CARTILAGE_LABELS


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])


@pytest.fixture
def mri() -> Image:
    return Image(np.zeros((6, 8, 10), dtype=np.int16), Grid((6, 8, 10), AFFINE))


def test_ids_become_ours(tmp_path: Path, mri: Image) -> None:
    values = np.random.default_rng(0).integers(0, 4, mri.data.shape).astype(np.float32)
    path = save(tmp_path / "m.nii.gz", values, AFFINE)
    labels, notes = LabelIds({1: 2, 2: 4, 3: 0})(path, read_image(path), mri)
    assert labels.dtype == np.uint8
    for theirs, ours in ((0, 0), (1, 2), (2, 4), (3, 0)):
        assert (labels[values == theirs] == ours).all()
    assert notes == ["m.nii.gz: label ids 1->2, 2->4, 3->0"]


@pytest.mark.parametrize(("value", "shown"), [(7, "7"), (1.5, "1.5"), (-1, "-1"), (np.nan, "nan")])
def test_ids_that_are_not_named(tmp_path: Path, mri: Image, value: float, shown: str) -> None:
    values = np.ones(mri.data.shape, dtype=np.float32)
    values[2, 2, 2] = value
    path = save(tmp_path / "m.nii.gz", values, AFFINE)
    with pytest.raises(UnreadableImage, match=f"label ids {shown} are not named; expected 0, 1. Name each"):
        LabelIds({1: 2})(path, read_image(path), mri)


def test_ids_that_are_not_ours() -> None:
    with pytest.raises(ValueError, match=r"expected 3 to become one of 0, 1, 2, 3, 4, 5, got 9"):
        LabelIds({3: 9})


def test_the_same_pairs_are_the_same_step() -> None:
    assert repr(LabelIds({2: 1, 1: 2})) == repr(LabelIds({1: 2, 2: 1}))  # what an import remembers


def test_another_grid_is_resampled_only_when_asked(tmp_path: Path, mri: Image) -> None:
    fine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = AFFINE[:3, :3] @ np.full(3, -0.25)  # the same outline at twice the resolution
    coarse = np.random.default_rng(0).integers(0, 3, mri.data.shape).astype(np.uint8)
    path = save(tmp_path / "m.nii.gz", coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2), fine)
    with pytest.raises(
        UnreadableImage, match=r"expected 6x8x10 voxels of 2.000x1.000x1.000 mm.*got 12x16x20"
    ):
        LabelIds({1: 1, 2: 2})(path, read_image(path), mri)
    labels, notes = LabelIds({1: 1, 2: 2}, resample=True)(path, read_image(path), mri)
    np.testing.assert_array_equal(labels, coarse)
    assert "100.0% of the labelled volume kept" in notes[0]


def test_resampling_agrees_with_simpleitk(tmp_path: Path) -> None:
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    turn = nib.eulerangles.euler2mat(0.3, -0.2, 0.1)
    old = nib.affines.from_matvec(turn @ np.diag([1.1, 0.9, 1.3]), [-5, 3, 2])
    new = nib.affines.from_matvec(np.diag([0.8, 1.2, 1.0]), [-6, 2, 1])
    labels = rng.integers(0, 6, (9, 10, 11)).astype(np.uint8)
    ours = resampled(labels, Grid(labels.shape, old), Grid((12, 10, 9), new))
    images = []
    for name, values, affine in (("a", labels, old), ("b", np.zeros((12, 10, 9), np.uint8), new)):
        images.append(sitk.ReadImage(str(save(tmp_path / f"{name}.nii.gz", values, affine))))
    theirs = sitk.GetArrayFromImage(sitk.Resample(*images, sitk.Transform(), sitk.sitkNearestNeighbor)).T
    inside = theirs > 0
    assert inside.sum() > 300
    assert (ours == theirs).mean() > 0.99  # ties and edges are rounded in other ways
    assert (ours[inside] == theirs[inside]).mean() > 0.99


def test_a_map_of_another_knee(tmp_path: Path, mri: Image) -> None:
    far = AFFINE.copy()
    far[0, 3] = 500
    path = save(tmp_path / "m.nii.gz", np.ones(mri.data.shape, np.uint8), far)
    with pytest.raises(UnreadableImage, match="only 0% of the labelled volume lies in the image"):
        LabelIds({1: 1}, resample=True)(path, read_image(path), mri)


def test_a_real_map_of_the_oai(shared_data: Path) -> None:
    path = shared_data / "oai-label-map" / "right-knee.nrrd"
    image = read_image(path)
    labels, _ = LabelIds(OAI_DESS_IDS)(path, image, image)
    counts = np.bincount(labels.ravel(), minlength=6)
    theirs = np.bincount(image.data.ravel().astype(int), minlength=11)
    assert counts[[1, 2, 3, 4, 5]].tolist() == theirs[[5, 1, 6, 2, 3]].tolist()
    assert set(CARTILAGE_LABELS) <= set(np.unique(labels).tolist())
    middle = [np.argwhere(labels == value).mean(axis=0) for value in range(6)]
    assert middle[1][2] > middle[3][2]  # the femur is above the tibia
    assert middle[4][0] < middle[5][0]  # of a right knee, medial is to the left
