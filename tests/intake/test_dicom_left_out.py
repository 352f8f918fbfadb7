"""Nothing that an export holds vanishes: damaged folders and knees that come twice are listed."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.hospital import SAGITTAL, knee_volume

from oahier.images import UnreadableImage, read_image
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


def zipped(path: Path, folder: Path, **more: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)


def test_archives_of_series_are_folders(tmp_path: Path) -> None:
    source, dest, plain = tmp_path / "export", tmp_path / "dest", tmp_path / "plain"
    write(source / "a", "A")
    write(plain / "b/s", "B", 1)
    write(plain / "c", "C", 2)
    zipped(source / "more/bc.zip", plain, notes=b"hello")
    expected = {name: read_image(plain / name).data for name in ("b/s", "c")}
    for _ in range(2):  # the second time from what is remembered
        result = import_dicom(source, dest, series="PD", progress=False)
        table = result.manifest.table
        assert table["subject"].tolist() == ["A", "B", "C"]
        assert table["source"].tolist() == ["a", "more/bc.zip/b/s", "more/bc.zip/c"]
        assert table["mri"].tolist()[1:] == ["dicom/more/bc.zip/b/s", "dicom/more/bc.zip/c"]
        for name, image in expected.items():
            np.testing.assert_array_equal(read_image(dest / "dicom/more/bc.zip" / name).data, image)
        assert result.report["written"]["files"] == 24
    times = [path.stat().st_mtime_ns for path in sorted((dest / "dicom").rglob("0*"))]
    result = import_dicom(source, dest, series="PD", patients="folder", visits="none", progress=False)
    assert result.manifest.table["subject"].tolist() == ["a"]
    assert [item.subject for item in result.left_out] == ["more", "more"]  # two knees of one name
    assert [path.stat().st_mtime_ns for path in sorted((dest / "dicom").rglob("0*"))] == times
    (source / "more/bc.zip").unlink()
    import_dicom(source, dest, series="PD", progress=False)
    assert not (dest / "dicom").exists()


def test_one_archive_is_a_source_and_an_image(tmp_path: Path) -> None:
    write(tmp_path / "plain/P1", "")
    zipped(tmp_path / "knee.zip", tmp_path / "plain")
    expected = read_image(tmp_path / "plain/P1")
    np.testing.assert_array_equal(read_image(tmp_path / "knee.zip").data, expected.data)
    result = import_dicom(tmp_path / "knee.zip", tmp_path / "dest", patients="folder", progress=False)
    assert result.manifest.table["subject"].tolist() == ["P1"]
    (tmp_path / "cut.zip").write_bytes((tmp_path / "knee.zip").read_bytes()[:-30])
    write(tmp_path / "plain/P2", "B", 1)
    zipped(tmp_path / "two.zip", tmp_path / "plain")
    for name, why in (
        ("cut", "is truncated or no zip archive"),
        ("two", "got 2; keep one series per folder"),
    ):
        with pytest.raises(UnreadableImage, match=rf"{name}\.zip.* {why}"):
            read_image(tmp_path / f"{name}.zip")


@pytest.mark.parametrize("name", ["../out", "/out", "zeros"])
def test_unsafe_archives_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write(tmp_path / "export/a", "A")
    write(tmp_path / "plain", "B", 1)
    zipped(tmp_path / "export/bad.zip", tmp_path / "plain", **{name: b"\0" * (20 << 20)})
    why = {"../out": "leads out of the folder", "/out": "has an absolute path", "zeros": "would grow from"}[
        name
    ]
    result = import_dicom(tmp_path / "export", tmp_path / "dest", series="PD", progress=False)
    assert result.manifest.table["subject"].tolist() == ["A"]
    (item,) = result.left_out
    assert item.source == "bad.zip"
    assert why in item.reason
    assert "\n" not in item.reason
    with pytest.raises(UnreadableImage, match=why):
        read_image(tmp_path / "export/bad.zip")
    with pytest.raises(ValueError, match=why):
        import_dicom(tmp_path / "export/bad.zip", tmp_path / "other", progress=False)
    assert not list(tmp_path.rglob("out"))
    assert not list(tmp_path.rglob("zeros"))


def test_a_series_in_an_archive_and_beside_it_is_one(tmp_path: Path) -> None:
    write(tmp_path / "export/a", "A")
    zipped(tmp_path / "export/a.zip", tmp_path / "export/a")
    for _ in range(2):
        result = import_dicom(tmp_path / "export", tmp_path / "dest", series="PD", progress=False)
        assert result.manifest.table["mri"].tolist() == ["images/A-right-20050302.nii.gz"]
        assert "12 files that are copies of others were left out" in " ".join(result.report["notes"])


def test_one_may_insist_on_a_series(tmp_path: Path) -> None:
    """It is written as NIfTI, as its folder stays one that training refuses."""
    files = write(tmp_path / "export/a", "A")
    write(tmp_path / "export/b", "B", 1)
    files[4].unlink()
    result = import_dicom(tmp_path / "export", tmp_path / "dest", progress=False)
    assert result.left_out[0].reason.endswith("in spite of that: import it with --insist gaps,numbers)")
    with pytest.raises(ValueError, match=r"insist: expected some of copies, fields, gaps, .*, got all"):
        import_dicom(tmp_path / "export", tmp_path / "dest", insist="all", progress=False)
    for _ in range(2):
        result = import_dicom(tmp_path / "export", tmp_path / "dest", insist="gaps,numbers", progress=False)
        assert result.left_out == []
        assert result.manifest.table["mri"][0] == "images/A-right-20050302.nii.gz"
        assert read_image(tmp_path / "dest/images/A-right-20050302.nii.gz").data.shape == (11, 20, 20)
        notes = [note for note in result.report["notes"] if "read although slices are" in note]
        assert len(notes) == 1
