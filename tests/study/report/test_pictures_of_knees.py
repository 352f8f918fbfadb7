"""Volumes and maps reach the page on one grid, right way round."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from oahier.study.report.browser import Volume, _map, _picture, _read_volume, block_means, browser
from oahier.study.report.contents import read_contents


def unpacked(picture: dict) -> np.ndarray:
    """What the page's script makes of a picture."""
    content = base64.b64decode(picture["source"].partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    slices, rows, columns = picture["shape"]
    height, width = picture["tile"]
    made = np.zeros(picture["shape"], dtype=np.uint8)
    for index in range(slices):
        top, left = index // picture["across"] * height, index % picture["across"] * width
        made[index] = pixels[top : top + rows, left : left + columns]
    return made


def test_pictures_keep_every_voxel():
    values = np.random.default_rng(0).integers(0, 256, (7, 5, 9), dtype=np.uint8)
    np.testing.assert_array_equal(unpacked(_picture(values, (1, 1, 1), lossless=True)), values)


def test_large_volumes_lose_little():
    i, j, k = np.meshgrid(*[np.linspace(0, 1, size) for size in (10, 45, 37)], indexing="ij")
    values = np.round(255 * (i + j + k) / 3).astype(np.uint8)
    packed = _picture(values, (1, 1, 1), lossless=False)
    assert packed["source"].startswith("data:image/jpeg")
    assert packed["tile"] == [48, 40]
    assert np.abs(unpacked(packed).astype(int) - values).max() <= 8


def test_volumes_are_turned_to_right_anterior_superior(tmp_path: Path):
    array = np.zeros((4, 5, 6))
    array[1, 2, 3] = 1
    affine = np.array([[0, 0, -2.0, 10], [-1, 0, 0, 7], [0, 3, 0, -4], [0, 0, 0, 1]])
    np.savez(tmp_path / "knee.npz", mri=array, cartilage=array > 0, affine=affine)
    volume = _read_volume(tmp_path / "knee.npz")
    turned, geometry = volume.mri, volume.affine
    np.testing.assert_array_equal(volume.cartilage, turned > 0)
    assert np.all(np.diag(geometry)[:3] > 0)
    assert np.count_nonzero(geometry[:3, :3]) == 3
    (place,) = np.argwhere(turned)
    np.testing.assert_allclose(geometry @ [*place, 1], affine @ [1, 2, 3, 1])


@pytest.mark.parametrize("flipped", [False, True])
def test_maps_of_another_grid_land_where_they_belong(tmp_path: Path, flipped: bool):
    volume = Volume(
        "k", np.zeros((12, 16, 20), np.float32), np.zeros((12, 16, 20), bool), np.diag([2.0, 1, 1, 1])
    )
    values = np.zeros((24, 8, 20), np.float32)
    geometry = np.array([[1.0, 0, 0, -0.5], [0, 2, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]])
    values[9:11, 3:5, 6:8] = 1  # 9 mm right, 7.5 mm anterior, 6.5 mm superior of the corner
    if flipped:
        values, geometry = (
            values[::-1],
            geometry @ np.array([[-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        )
    nib.save(nib.Nifti1Image(np.ascontiguousarray(values), geometry), tmp_path / "k.nii.gz")
    packed = _map(tmp_path, volume, 1)
    assert packed is not None
    weights = unpacked(packed).astype(float)
    places = np.indices(weights.shape).reshape(3, -1)
    centre = (places * weights.ravel()).sum(axis=1) / weights.sum()
    np.testing.assert_allclose(centre * [2, 1, 1], [9, 7.5, 6.5], atol=0.3)


def test_a_map_of_zeros_and_none(tmp_path: Path):
    volume = Volume("a/b", np.zeros((3, 3, 3), np.float32), np.zeros((3, 3, 3), bool), np.eye(4))
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), np.eye(4)), tmp_path / "a%2Fb.nii.gz")
    assert _map(tmp_path, volume, 1) == {"empty": True}
    assert _map(tmp_path / "nothing", volume, 1) is None


def test_block_means_keep_the_mean_of_each_block():
    values = np.arange(60, dtype=float).reshape(3, 4, 5)
    made = block_means(values, (2, 2, 2))
    assert made.shape == (2, 2, 3)
    assert made[0, 0, 0] == values[:2, :2, :2].mean()
    assert made[1, 1, 2] == values[2:, 2:, 4:].mean()


def test_a_study_in_the_browser(study):
    made = browser(read_contents(study))
    assert made is not None
    assert len(made["knees"]) == 2
    assert [method["key"] for method in made["methods"]] == [
        "gradcam-kl", "gradcam-oa", "smoothgrad-kl", "smoothgrad-oa",
    ]  # fmt: skip
    conditions = [condition["name"] for condition in made["conditions"]]
    assert conditions == [
        f"{a}, {b}" for a in ("ResNet3D", "M3T") for b in ("Single-OA", "Single-KL", "Dual")
    ]
    assert {condition["note"] for condition in made["conditions"]} == {"seed 0"}
    for knee in made["knees"]:
        assert knee["size"] == knee["mri"]["shape"] == [20, 30, 24]
        assert knee["spacing"] == [2.0, 1.5, 1.5]
        assert knee["maps"]["gradcam-kl"]["ResNet3D, Single-OA"] is None  # this head taught nothing
        assert unpacked(knee["maps"]["gradcam-kl"]["M3T, Dual"]).shape == (20, 30, 24)
        inside = unpacked(knee["cartilage"])
        stored = np.load(study / "knees" / ("K001.npz" if knee["name"] == "K001" else _other(study)))
        np.testing.assert_array_equal(inside, stored["cartilage"])
        assert inside[knee["start"][0]].sum() == inside.sum(axis=(1, 2)).max()


def _other(study: Path) -> str:
    return next(path.name for path in (study / "knees").iterdir() if path.name != "K001.npz")
