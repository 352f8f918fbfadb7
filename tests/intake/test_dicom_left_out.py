"""Nothing that an export holds vanishes: damaged folders and knees that come twice are listed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from miniature.dicom import write_dicom_series
from miniature.hospital import SAGITTAL, knee_volume

from oahier.intake.from_dicom import import_dicom


def write(folder: Path, patient: str, seed: int = 0, **tags: object) -> list[Path]:
    options = {"PatientID": patient, "SeriesDescription": "PD", "Laterality": "R"} | tags
    return write_dicom_series(folder, knee_volume(seed, 1), SAGITTAL, **options)


def cut(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:-200])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("series", ["", "PD"])
def test_damaged_folders_are_listed(tmp_path: Path, series: str) -> None:
    source, dest = tmp_path / "export", tmp_path / "dest"
    write(source / "a", "A")
    for name in ("b", "c"):  # two, which are not one series over two folders
        cut(write(source / name, "MRN777", 1))
    for _ in range(2):  # the second time from what is remembered
        result = import_dicom(source, dest, series=series, progress=False)
        assert result.manifest.table["subject"].tolist() == ["A"]
        assert [(row["source"], row["knee"], row["subject"]) for row in rows(dest / "left-out.csv")] == [
            ("b", "", ""), ("c", "", ""),
        ]  # fmt: skip
        for row in rows(dest / "left-out.csv"):
            assert row["reason"].startswith("12 damaged DICOM files and no sound one in this folder, such as")
        found = {row["folder"]: row for row in rows(dest / "series.csv")}
        assert (found["b"]["slices"], found["b"]["used"], found["a"]["used"]) == ("0", "no", "yes")
        assert found["b"]["problems"].startswith("12 damaged DICOM files")
        for file in dest.rglob("*"):
            assert not file.is_file() or b"MRN777" not in file.read_bytes()


def test_folders_tell_whose_the_damaged_files_are(tmp_path: Path) -> None:
    write(tmp_path / "export/a/1", "")
    cut(write(tmp_path / "export/b/1", ""))
    result = import_dicom(tmp_path / "export", tmp_path / "dest", patients="folder", progress=False)
    assert [(item.source, item.knee, item.subject) for item in result.left_out] == [("b/1", "b", "b")]


def test_a_tree_of_damaged_files_only(tmp_path: Path) -> None:
    cut(write(tmp_path / "export/a", "A"))
    with pytest.raises(ValueError, match=r"found none in it that can be read; .*series.csv lists"):
        import_dicom(tmp_path / "export", tmp_path / "dest", progress=False)
    assert [row["folder"] for row in rows(tmp_path / "dest/series.csv")] == ["a"]


def test_two_volumes_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    source = tmp_path / "export"
    write(source / "good", "A")
    write(source / "acq/s", "B", 1, SeriesInstanceUID="1.2.3", ImagesInAcquisition=24, AcquisitionNumber=1)
    write(
        source / "acq/s", "B", 2, SeriesInstanceUID="1.2.3", ImagesInAcquisition=24, AcquisitionNumber=2,
        start=13,
    )  # fmt: skip
    write(source / "again/s", "C", 3, SeriesInstanceUID="1.2.4")
    write(source / "again/s", "C", 4, SeriesInstanceUID="1.2.5", names="x{:03d}")
    result = import_dicom(source, tmp_path / "dest", series="PD", progress=False)
    first, second = "acq/s: PD, acquisition 1, from 001", "acq/s: PD, acquisition 2, from 013"
    assert [(item.source, item.subject) for item in result.left_out] == [
        (first, "B"), (second, "B"), ("again/s: PD, from 001", "C"), ("again/s: PD, from x001", "C"),
    ]  # fmt: skip
    assert f"2 images would be the knee 'B-right-20050302' ({first}, {second}); " in result.left_out[0].reason


def test_broken_volumes_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    source = tmp_path / "export"
    write(source / "good", "A")
    for uid, names in (("1.2.4", "{:03d}"), ("1.2.5", "x{:03d}")):
        write(source / "gap", "B", SeriesInstanceUID=uid, names=names, Modality="CT")
    result = import_dicom(source, tmp_path / "dest", series="PD", progress=False)
    assert [item.source for item in result.left_out] == ["gap: PD, from 001", "gap: PD, from x001"]
