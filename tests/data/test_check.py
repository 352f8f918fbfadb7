from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oahier.audit import check_manifest

AFFINE = np.diag([-2.0, 1.5, 1.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(data, affine), path)


def test_nothing_is_wrong(knees: Path) -> None:
    assert check_manifest(knees) == []
    assert check_manifest(knees.parent, num_workers=2) == []


def test_every_kind_of_problem_at_once(some_knees: Callable[..., Path]) -> None:
    path = some_knees(14)
    folder = path.parent
    noise = np.random.default_rng(0).normal(size=(12, 16, 20)).astype(np.float32)
    labels = np.zeros(noise.shape, np.uint8)
    labels[3:6] = 2
    rows = path.read_text().splitlines()
    rows[1] = rows[1][:-1] + "7"
    path.write_text("\n".join(rows) + "\n")
    (folder / "001.nii.gz").write_bytes(b"not an image")
    save(folder / "002.nii.gz", noise[0])
    save(folder / "003.nii.gz", np.stack([noise, noise], axis=-1))
    save(folder / "004.nii.gz", np.where(noise > 2, np.inf, noise))
    save(folder / "005.nii.gz", np.full_like(noise, 3))
    save(folder / "006-labels.nii.gz", labels[:-1])
    moved = AFFINE.copy()
    moved[2, 3] = 4
    save(folder / "007-labels.nii.gz", labels, moved)
    save(folder / "008-labels.nii.gz", labels * 20)
    save(folder / "009-labels.nii.gz", labels * 0)
    save(folder / "010-labels.nii.gz", labels // 2)
    save(folder / "011-labels.nii.gz", labels * np.float32(0.25), AFFINE)
    content = (folder / "012.nii.gz").read_bytes()
    (folder / "012.nii.gz").write_bytes(content[: len(content) // 2])
    (folder / "013.nii.gz").unlink()
    found = {problem.row: problem for problem in check_manifest(path)}
    expected = {
        2: ("kl", "whole number 0-4", "error"),
        3: ("mri", "not a readable NIfTI", "error"),
        4: ("mri", "got a 2D image of 16 x 20", "error"),
        5: ("mri", "got a 4D image of 12 x 16 x 20 x 2", "error"),
        6: ("mri", "NaN or infinite voxels", "error"),
        7: ("mri", "constant volume (every voxel is 3)", "error"),
        8: ("cartilage", "mask of another grid: expected that of 006.nii.gz (12x16x20", "error"),
        9: ("cartilage", "mask of another grid", "error"),
        10: ("cartilage", "unknown label ids 40; expected 0 background, 1 femur", "error"),
        11: ("cartilage", "empty mask", "error"),
        12: ("cartilage", "no cartilage in the label map, only ids 0, 1", "warning"),
        13: ("cartilage", "unknown label ids 0.5", "error"),
        14: ("mri", "truncated or damaged", "error"),
        15: ("mri", "missing file", "error"),
    }
    assert sorted(found) == sorted(expected)
    for row, (column, text, severity) in expected.items():
        assert (found[row].column, found[row].severity) == (column, severity), found[row]
        assert text in found[row].message
        assert found[row].knee == f"{row - 2:03d}"


def test_the_table_alone(some_knees: Callable[..., Path]) -> None:
    path = some_knees(2)
    (path.parent / "001.nii.gz").write_bytes(b"not an image")
    assert check_manifest(path, files=False) == []
    assert len(check_manifest(path)) == 1


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    (problem,) = check_manifest(tmp_path / "none.csv")
    assert "cannot read the manifest" in problem.message
    (tmp_path / "bad.csv").write_text("name,file\n1,2\n")
    assert {problem.message.split(";")[0] for problem in check_manifest(tmp_path / "bad.csv")} == {
        "missing column 'knee'",
        "missing column 'subject'",
        "missing column 'mri'",
    }


def test_absolute_and_shared_paths_are_warnings(some_knees: Callable[..., Path]) -> None:
    path = some_knees(2, cartilage=False)
    path.write_text(path.read_text().replace("001.nii.gz", str(path.parent / "001.nii.gz")))
    (problem,) = check_manifest(path)
    assert problem.severity == "warning"
    assert "1 absolute paths such as" in problem.message
    path.write_text("knee,subject,mri\na,1,000.nii.gz\nb,1,000.nii.gz\n")
    (problem,) = check_manifest(path)
    assert problem.severity == "warning"
    assert "knees 'a', 'b' share the file 000.nii.gz" in problem.message
    path.write_text("knee,subject,mri\na,1,000.nii.gz\nb,2,000.nii.gz\n")
    shared, same = sorted(check_manifest(path), key=lambda problem: problem.severity, reverse=True)
    assert "share the file 000.nii.gz" in shared.message
    assert same.severity == "error", "one image cannot be of two people"
    assert "'a' (row 2), 'b' (row 3) are the same image in different subjects" in same.message


@pytest.mark.parametrize("turn", [(0, 2, 1), (2, 1, 0)])
def test_a_mask_may_be_stored_along_other_axes(
    some_knees: Callable[..., Path], turn: tuple[int, ...]
) -> None:
    """The same physical grid in another axis order and direction is no problem."""
    path = some_knees(1)
    labels = nib.load(path.parent / "000-labels.nii.gz")
    data, affine = np.asarray(labels.dataobj).transpose(turn)[::-1], labels.affine[:, [*turn, 3]]
    affine[:3, 3] += affine[:3, 0] * (data.shape[0] - 1)
    affine[:3, 0] *= -1
    save(path.parent / "000-labels.nii.gz", np.ascontiguousarray(data), affine)
    assert check_manifest(path) == []
