"""The most salient voxel is a place, not the first of many: it goes where the knee goes."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from miniature.bright import blob, write_bright_checkpoint, write_nifti

from oahier.images import Grid
from oahier.prediction import predict_scans
from oahier.prediction.geometry import cell_grid, on_grid
from oahier.prediction.inputs import find_scans
from oahier.prediction.loading import load_scan
from oahier.prediction.one_knee import predict_knee
from oahier.prediction.planes import planes_through_middle, planes_through_peak
from oahier.prediction.trained import load_trained
from oahier.saliency.peak import peak_voxel
from oahier.saliency.tail import TailExplainer

SHAPE, SPACING = (40, 44, 42), (2.0, 1.8, 1.9)
NETWORK = {"shape": (32, 36, 36), "spacing": (2.5, 2.2, 2.2), "stride": 4}
FLIPS = [axes for count in range(4) for axes in itertools.combinations(range(3), count)]


@given(seed=st.integers(0, 10_000), cells=st.tuples(*[st.integers(2, 5)] * 3), fine=st.integers(4, 9))
def test_the_peak_of_a_mirrored_map_is_the_mirrored_peak(
    seed: int, cells: tuple[int, int, int], fine: int
) -> None:
    coarse = np.random.default_rng(seed).random(cells, dtype=np.float32)
    volume = Grid(tuple(fine * count + axis for axis, count in enumerate(cells)), np.eye(4))
    values = on_grid(coarse, cell_grid(volume, cells), volume)
    peak = peak_voxel(values)
    assert values[peak] == pytest.approx(values.max(), rel=1e-6)
    for axes in FLIPS:
        mirrored = tuple(
            count - 1 - place if axis in axes else place
            for axis, (place, count) in enumerate(zip(peak, values.shape, strict=True))
        )
        assert peak_voxel(np.flip(values, axes)) == mirrored


def test_the_peak_is_the_centre_of_the_cell() -> None:
    """On the border, too, where the map is constant from the centre of the outermost cells on."""
    volume = Grid((27, 36, 45), np.eye(4))
    for cell in itertools.product(range(3), range(4), range(5)):
        coarse = np.zeros((3, 4, 5), dtype=np.float32)
        coarse[cell] = 1
        values = on_grid(coarse, cell_grid(volume, coarse.shape), volume)
        assert peak_voxel(values) == tuple(9 * place + 4 for place in cell)


def test_a_map_without_a_peak_has_the_middle() -> None:
    assert peak_voxel(np.zeros((5, 7, 9))) == (2, 3, 4)
    assert peak_voxel(np.full((5, 7, 9), np.nan)) == (2, 3, 4)
    assert peak_voxel(np.ones((9, 9, 9)), centre=np.array([7.0, 2.2, -40.0])) == (7, 2, 0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_bright_checkpoint(tmp_path / "model.ckpt", **NETWORK)


@pytest.mark.parametrize("voxel", [(1, 2, 40), (20, 43, 1), (11, 30, 27)])
def test_flipping_a_scan_flips_the_peak(
    voxel: tuple[int, int, int], checkpoint: Path, tmp_path: Path
) -> None:
    affine = np.diag([*SPACING, 1.0])
    values = blob(SHAPE, affine, voxel, width=5)
    found = {}
    for axes in FLIPS:
        name = "flip" + "".join(map(str, axes))
        path = write_nifti(tmp_path / f"{name}.nii.gz", np.flip(values, axes), affine)
        table = predict_scans(checkpoint, path, tmp_path / name, pages=False).table
        overlay = np.asarray(nib.load(tmp_path / name / "overlays" / f"{name}.nii.gz").dataobj)
        place = table.loc[0, ["peak_right_mm", "peak_anterior_mm", "peak_superior_mm"]].to_numpy(float)
        peak = tuple(int(value) for value in np.rint(place / SPACING))
        assert overlay[peak] == overlay.max() == 1, name
        found[axes] = peak
        off = np.abs(place - np.array(SPACING) * [
            count - 1 - place if axis in axes else place
            for axis, (place, count) in enumerate(zip(voxel, SHAPE, strict=True))
        ])  # fmt: skip
        assert (off <= 5.0 + np.array(SPACING) / 2).all(), "within the cell of the blob"
    straight = found[()]
    for axes, peak in found.items():
        assert peak == tuple(
            count - 1 - place if axis in axes else place
            for axis, (place, count) in enumerate(zip(straight, SHAPE, strict=True))
        ), axes


@pytest.mark.parametrize("codes", ["RAS", "PIR", "LSA", "RIP"])
def test_slices_are_numbered_along_the_axes_of_the_scan(codes: str, checkpoint: Path, tmp_path: Path) -> None:
    """The overlay lies on the axes of the scan: slice n of a picture is slice n of the overlay."""
    image = nib.Nifti1Image(
        blob(SHAPE, np.diag([*SPACING, 1.0]), (33, 9, 12), width=14), np.diag([*SPACING, 1.0])
    )
    orientations = (nib.orientations.axcodes2ornt(tuple(name)) for name in ("RAS", codes))
    stored = image.as_reoriented(nib.orientations.ornt_transform(*orientations))
    nib.save(stored, tmp_path / "scan.nii.gz")
    predict_scans(checkpoint, tmp_path / "scan.nii.gz", tmp_path / "out", pages=False)
    overlay = np.asarray(nib.load(tmp_path / "out" / "overlays" / "scan.nii.gz").dataobj)
    trained = load_trained(checkpoint)
    (scan,), _ = find_scans([tmp_path / "scan.nii.gz"], side="", series=None, sides_needed=False)
    loaded = load_scan(scan, trained.preprocessing)
    saliency = predict_knee(trained, loaded).saliency
    assert saliency is not None
    for planes in (planes_through_peak(loaded, saliency), planes_through_middle(loaded, saliency)):
        for plane, letters in zip(planes, ("RL", "AP", "SI"), strict=True):
            axis = next(place for place, code in enumerate(codes) if code in letters)
            shown, there = plane.saliency, overlay.take(plane.index, axis)
            np.testing.assert_allclose(np.sort(shown, axis=None), np.sort(there, axis=None), atol=1e-3)
            assert shown.max() > 0


@pytest.mark.parametrize(("cell", "shown"), [((0, 0, 0), False), ((3, 4, 4), True)])
def test_what_lies_outside_the_scan_is_no_saliency(
    cell: tuple[int, int, int], shown: bool, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan smaller than what the model looks at: shares are of the maximum inside, which may be zero."""

    maps = torch.zeros(1, 8, 9, 9)
    maps[0][cell] = 7.0
    monkeypatch.setattr(TailExplainer, "__call__", lambda *arguments: maps)
    values = np.random.default_rng(0).normal(500, 99, (12, 12, 12)).astype(np.float32)
    path = write_nifti(tmp_path / "small.nii.gz", values, np.eye(4))
    table = predict_scans(checkpoint, path, tmp_path / "out").table
    overlay = np.asarray(nib.load(tmp_path / "out" / "overlays" / "small.nii.gz").dataobj)
    assert overlay.max() == shown
    assert table["peak_right_mm"].notna()[0] == shown
    page = (tmp_path / "out" / "pages" / "small.html").read_text()
    assert ("No location in the scan speaks for a higher grade" in page) != shown
