"""Which scans there are behind paths, what they are called, and which are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series

from oahier.prediction.inputs import LeftOut, Scan, find_scans

VOLUME = np.arange(16 * 12 * 8, dtype=np.int16).reshape(16, 12, 8)
SPACING = np.diag([1.0, 1.5, 3.0, 1.0])


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def names(scans: list[Scan]) -> list[str]:
    return [scan.knee for scan in scans]


def test_names_of_image_files(tmp_path: Path) -> None:
    files = ["a.nii.gz", "b.nii", "c d.nrrd", "e.f.mha", "g.MHD"]
    scans, left_out = find_scans([touch(tmp_path / name) for name in files])
    assert names(scans) == ["a", "b", "c-d", "e.f", "g"]
    assert not left_out
    assert all(scan.subject == scan.knee for scan in scans)


def test_same_names_get_the_name_of_their_folder(tmp_path: Path) -> None:
    files = ["one/mri.nii.gz", "two/mri.nii.gz", "x/two/mri.nii.gz", "two/MRI.nii"]
    scans, _ = find_scans([touch(tmp_path / name) for name in files])
    assert names(scans) == ["one-mri", "two-mri", "two-mri-2", "two-MRI-3"]


def test_missing_paths_are_left_out(tmp_path: Path) -> None:
    scans, left_out = find_scans([tmp_path / "no.nii.gz", touch(tmp_path / "yes.nii.gz")])
    assert names(scans) == ["yes"]
    assert left_out == [LeftOut(str(tmp_path / "no.nii.gz"), "", "no such file or folder")]


def test_a_faulty_row_of_a_manifest_is_left_out_alone(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    (tmp_path / "knees.csv").write_text(
        "knee,subject,mri,side,kl\n"
        "one,s1,a.nii.gz,left,3\ntwo,s2,b.nii.gz,right,1\nthree,s3,a.nii.gz,,9\nfour,s4,a.nii.gz,,\n"
    )
    scans, left_out = find_scans([tmp_path / "knees.csv"])
    assert names(scans) == ["one", "four"]
    assert scans[0].labels == {"kl": 3, "oa": 1}
    assert scans[0].side == "left"
    assert scans[0].subject == "s1"
    assert scans[1].labels == {}
    assert [item.knee for item in left_out] == ["two", "three"]
    assert "row 3" in left_out[0].reason
    assert "missing file" in left_out[0].reason
    assert "row 4" in left_out[1].reason
    assert "0-4" in left_out[1].reason


@pytest.mark.parametrize("text", ["", "knee,mri\na,b\n", "knee,subject,mri\na,b\n"])
def test_a_table_that_is_no_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "knees.csv").write_text(text)
    scans, left_out = find_scans([tmp_path / "knees.csv"])
    assert not scans
    assert len(left_out) == 1
    assert left_out[0].reason


def test_a_folder_with_a_manifest_is_that_manifest(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    (tmp_path / "manifest.csv").write_text("knee,subject,mri\none,s1,a.nii.gz\n")
    assert names(find_scans([tmp_path])[0]) == ["one"]


def test_sides(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    (tmp_path / "knees.csv").write_text("knee,subject,mri,side\none,s1,a.nii.gz,left\ntwo,s2,a.nii.gz,\n")
    scans, left_out = find_scans([tmp_path / "knees.csv"], side="right")
    assert [(scan.knee, scan.side) for scan in scans] == [("two", "right")]
    assert "contradicts" in left_out[0].reason
    scans, left_out = find_scans([tmp_path / "knees.csv"], sides_needed=True)
    assert names(scans) == ["one"]
    assert "--side left" in left_out[0].reason


def test_a_tree_of_dicom_series(tmp_path: Path) -> None:
    """Series are found in any depth; chosen by description; the broken one is left out with its reason."""
    root = tmp_path / "hospital"
    write_dicom_series(root / "p1" / "right", VOLUME, SPACING, SeriesDescription="SAG_3D_DESS_RIGHT")
    write_dicom_series(
        root / "p1" / "left", VOLUME, SPACING, SeriesDescription="SAG_3D_DESS_LEFT", Laterality="L"
    )
    write_dicom_series(
        root / "p2", VOLUME, SPACING, SeriesDescription="T2 cor", PatientID="2", BodyPartExamined="HIP"
    )
    (sorted((root / "p1" / "right").iterdir())[3]).unlink()
    scans, left_out = find_scans([root])
    assert {(scan.knee, scan.side) for scan in scans} == {("p1-left", "left"), ("p2", "")}
    assert [item.knee for item in left_out] == ["p1-right"]
    assert "missing" in left_out[0].reason or "apart" in left_out[0].reason
    hip = next(scan for scan in scans if scan.knee == "p2")
    assert any("HIP" in note for note in hip.notes)
    assert len(hip.files) == VOLUME.shape[2]

    scans, left_out = find_scans([root], series="dess_left")
    assert names(scans) == ["p1-left"]
    assert any("does not match 'T2 cor'" in item.reason and not item.wanted for item in left_out)


def test_several_series_in_one_folder_are_told_apart_by_description(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_dicom_series(folder, VOLUME, SPACING, SeriesDescription="sag PD")
    write_dicom_series(folder, VOLUME, SPACING, SeriesDescription="cor T1", start=50, InstanceNumber=1)
    scans, left_out = find_scans([folder])
    assert sorted(names(scans)) == ["study-cor-T1", "study-sag-PD"], left_out


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    scans, left_out = find_scans([tmp_path])
    assert not scans
    assert "no DICOM series" in left_out[0].reason
    assert "*.nii.gz" in left_out[0].reason


def test_a_series_that_is_no_regular_expression(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"series: expected a regular expression, got '\('"):
        find_scans([tmp_path], series="(")
