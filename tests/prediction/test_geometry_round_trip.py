"""A model that looks at the brightest place: its overlay must peak there, on the grid of the scan."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from miniature.bright import blob, write_bright_checkpoint, write_nifti
from miniature.dicom import write_dicom_series
from scipy.spatial.transform import Rotation

from oahier.images import Grid
from oahier.prediction import predict_scans
from oahier.prediction.geometry import cell_grid, on_grid, outside_share

NETWORK = {"shape": (32, 36, 36), "spacing": (2.5, 2.2, 2.2)}


def oblique(spacing: tuple[float, ...], degrees: tuple[float, ...], flips: tuple[int, ...] = (1, 1, 1)):
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing) * np.array(flips)
    affine[:3, 3] = (-30.0, 12.5, 7.25)
    return affine


def permuted(affine: np.ndarray, order: tuple[int, int, int]) -> np.ndarray:
    return affine[:, [*order, 3]]


CASES = {
    "straight": ((40, 44, 42), oblique((2.0, 1.8, 1.9), (0, 0, 0)), (11, 30, 27)),
    "left-right flipped": ((40, 44, 42), oblique((2.0, 1.8, 1.9), (0, 0, 0), (-1, 1, 1)), (28, 12, 15)),
    "all flipped, oblique": ((40, 44, 42), oblique((2.0, 1.8, 1.9), (12, -9, 17), (-1, -1, -1)), (9, 30, 27)),
    "anisotropic sagittal": (
        (60, 62, 20),
        permuted(oblique((4.5, 1.2, 1.25), (5, 8, -6), (-1, -1, -1)), (1, 2, 0)),
        (44, 20, 12),
    ),
    "oblique coronal": (
        (48, 40, 30),
        permuted(oblique((1.7, 2.6, 1.8), (20, 14, -25)), (0, 2, 1)),
        (12, 30, 8),
    ),
    "larger than the view": ((70, 60, 64), oblique((1.6, 1.9, 1.8), (0, 11, 4), (1, -1, 1)), (40, 24, 38)),
}


def the_overlay(folder: Path, name: str) -> nib.Nifti1Image:
    return nib.load(folder / "overlays" / f"{name}.nii.gz")


def check_peak(overlay: nib.Nifti1Image, path: Path, shape, affine, voxel, table: pd.DataFrame) -> None:
    """The peak lies on the blob by nibabel, by SimpleITK, and by the table."""
    assert overlay.shape == shape
    np.testing.assert_allclose(overlay.affine, affine, atol=1e-3)
    assert overlay.header["sform_code"] == overlay.header["qform_code"] == 1
    values = np.asarray(overlay.dataobj)
    assert 0.9 < values.max() <= 1
    peak = np.unravel_index(values.argmax(), shape)
    expected = nib.affines.apply_affine(affine, voxel)
    half = np.maximum(np.linalg.norm(affine[:3, :3], axis=0).max(), max(NETWORK["spacing"])) / 2
    off = np.linalg.inv(affine[:3, :3]) @ (nib.affines.apply_affine(overlay.affine, peak) - expected)
    assert (np.abs(off) * np.linalg.norm(affine[:3, :3], axis=0) <= half + 1e-6).all(), (peak, voxel)

    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayViewFromImage(image)
    index = [int(i) for i in np.unravel_index(array.argmax(), array.shape)][::-1]
    point = np.array(image.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
    np.testing.assert_allclose(point, nib.affines.apply_affine(overlay.affine, peak), atol=1e-2)
    said = table.loc[0, ["peak_right_mm", "peak_anterior_mm", "peak_superior_mm"]].to_numpy(float)
    np.testing.assert_allclose(said, point, atol=1e-2)


@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("name", CASES)
def test_peak_lands_on_the_blob(name: str, mirrored: bool, tmp_path: Path) -> None:
    shape, affine, voxel = CASES[name]
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", mirror_left=mirrored, **NETWORK)
    write_nifti(tmp_path / "scan.nii.gz", blob(shape, affine, voxel, width=5), affine)
    out = tmp_path / "out"
    result = predict_scans(checkpoint, tmp_path / "scan.nii.gz", out, side="left", pages=False)
    assert not result.left_out
    check_peak(the_overlay(out, "scan"), out / "overlays" / "scan.nii.gz", shape, affine, voxel, result.table)


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
def test_other_formats(ending: str, tmp_path: Path) -> None:
    shape, affine, voxel = CASES["anisotropic sagittal"]
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", **NETWORK)
    nifti = write_nifti(tmp_path / "scan.nii.gz", blob(shape, affine, voxel, width=5), affine)
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / f"scan.{ending}"))
    out = tmp_path / "out"
    result = predict_scans(checkpoint, [tmp_path / f"scan.{ending}"], out, pages=False)
    check_peak(the_overlay(out, "scan"), out / "overlays" / "scan.nii.gz", shape, affine, voxel, result.table)


@pytest.mark.parametrize("direction", [1, -1], ids=["slices right", "slices left"])
def test_dicom_series(direction: int, tmp_path: Path) -> None:
    """Sagittal slices, sorted either way in space and in names: the overlay lies on the scan in space."""
    affine = oblique((4.0, 1.5, 1.5), (3, -5, 7), (direction, -1, -1))[:, [1, 2, 0, 3]]
    shape, voxel = (48, 50, 16), (30, 18, 11)
    write_dicom_series(tmp_path / "series", blob(shape, affine, voxel, width=5), affine)
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", **NETWORK)
    result = predict_scans(checkpoint, tmp_path / "series", tmp_path / "out", pages=False)
    assert not result.left_out
    overlay = the_overlay(tmp_path / "out", "series")
    values = np.asarray(overlay.dataobj)
    assert sorted(values.shape) == sorted(shape)
    peak = nib.affines.apply_affine(overlay.affine, np.unravel_index(values.argmax(), values.shape))
    off = np.linalg.inv(affine[:3, :3]) @ (peak - nib.affines.apply_affine(affine, voxel))
    assert (np.abs(off) * (1.5, 1.5, 4.0) <= 2.0 + 1e-6).all()

    reader = sitk.ImageSeriesReader()  # what a viewer shows: both in one physical space
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    scan, heat = reader.Execute(), sitk.ReadImage(str(tmp_path / "out" / "overlays" / "series.nii.gz"))
    place = heat.TransformIndexToPhysicalPoint(
        [int(i) for i in np.unravel_index(values.argmax(), values.shape)]
    )
    there = scan.TransformPhysicalPointToIndex(place)
    array = sitk.GetArrayFromImage(scan)
    brightest = np.unravel_index(array.argmax(), array.shape)[::-1]
    assert np.abs(np.array(there) - brightest).max() <= 1


def test_a_mirrored_model_sees_left_and_right_alike(tmp_path: Path) -> None:
    """The two knees of a mirror image, one of them called left, get the same grade."""
    shape, affine, voxel = CASES["straight"]
    values = blob(shape, affine, voxel, width=5)
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", mirror_left=True, stride=4, **NETWORK)
    write_nifti(tmp_path / "right.nii.gz", values, affine)
    write_nifti(tmp_path / "left.nii.gz", values[::-1], affine)
    tables = [
        predict_scans(checkpoint, tmp_path / f"{side}.nii.gz", tmp_path / side, side=side, pages=False).table
        for side in ("right", "left")
    ]
    assert tables[0]["severity_kl"][0] == pytest.approx(tables[1]["severity_kl"][0], abs=1e-6)
    peaks = []
    for side in ("right", "left"):
        values = np.asarray(the_overlay(tmp_path / side, side).dataobj)
        peaks.append(np.unravel_index(values.argmax(), values.shape))
    assert abs(peaks[0][0] - (shape[0] - 1 - peaks[1][0])) <= 1
    assert peaks[0][1:] == peaks[1][1:]


@pytest.mark.parametrize("stride", [2, 4])
def test_cells_of_a_feature_map_keep_their_place(stride: int, tmp_path: Path) -> None:
    """The most salient cell is the one with the blob, however coarse cells are."""
    shape, affine, voxel = CASES["all flipped, oblique"]
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", stride=stride, **NETWORK)
    write_nifti(tmp_path / "scan.nii.gz", blob(shape, affine, voxel, width=5), affine)
    table = predict_scans(checkpoint, tmp_path / "scan.nii.gz", tmp_path / "out", pages=False).table
    found = table.loc[0, ["peak_right_mm", "peak_anterior_mm", "peak_superior_mm"]].to_numpy(float)
    off = np.linalg.norm(found - nib.affines.apply_affine(affine, voxel))
    assert off <= np.sqrt(3) * (stride / 2 + 0.5) * max(NETWORK["spacing"])


def test_interpolation_equals_scipy() -> None:
    from scipy.ndimage import map_coordinates

    generator = np.random.default_rng(0)
    values = generator.random((5, 6, 4)).astype(np.float32)
    grid = Grid((5, 6, 4), oblique((3.0, 2.0, 4.0), (10, 20, 30), (-1, 1, 1)))
    shift = np.array([0.7, -1.1, 2.0])
    target = Grid((12, 9, 14), grid.affine @ np.diag([-0.4, 0.6, 0.25, 1.0]))
    target.affine[:3, 3] += grid.affine[:3, :3] @ (shift + np.array([4.0, 0.0, 0.0]))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij")).reshape(3, -1)
    across = np.linalg.inv(grid.affine) @ target.affine
    there = across[:3, :3] @ places + across[:3, 3:]
    expected = map_coordinates(values, there, order=1, mode="nearest").reshape(target.shape)
    outside = ((there < -0.5 - 1e-6) | (there > np.array(grid.shape)[:, None] - 0.5 + 1e-6)).any(axis=0)
    assert 0.1 < outside.mean() < 0.9
    expected[outside.reshape(target.shape)] = 0
    np.testing.assert_allclose(on_grid(values, grid, target), expected, atol=1e-5)
    assert outside_share(target, grid) == pytest.approx(outside.mean())


def test_cells_share_the_extent_of_the_volume() -> None:
    volume = Grid((12, 20, 8), oblique((1.0, 2.0, 3.0), (5, 10, 15), (1, -1, 1)))
    cells = cell_grid(volume, (3, 5, 4))
    for corner in itertools.product((0, 1), repeat=3):
        ends = [
            grid.affine[:3, :3] @ (np.array(corner) * grid.shape - 0.5) + grid.affine[:3, 3]
            for grid in (volume, cells)
        ]
        np.testing.assert_allclose(*ends, atol=1e-9)


def test_grids_turned_against_each_other_are_refused() -> None:
    straight, turned = Grid((9, 9, 9), np.eye(4)), Grid((9, 9, 9), oblique((1, 1, 1), (0, 0, 20)))
    with pytest.raises(ValueError, match="parallel axes"):
        on_grid(np.zeros((9, 9, 9), dtype=np.float32), straight, turned)
