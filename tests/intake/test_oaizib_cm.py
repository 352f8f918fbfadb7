from __future__ import annotations

import csv
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature.oaizib_cm import AXES, make_oaizib_cm, read_rows, table_row, write_knee, write_rows, zipped

import oahier as oh
from oahier.images import read_image
from oahier.intake import import_oaizib_cm

EXPECTED = """\
knee,subject,side,visit,mri,cartilage,kl,oa,split,sex,age,bmi,mr_barcode,oai_path,source,licence
oaizib_001,9000037,right,V00,imagesTr/,labelsTr/,0,0,train,M,45,24.5,016610000001,0.C.2/9000037/20050114/10000001
oaizib_002,9000074,left,V00,imagesTr/,labelsTr/,0,0,train,F,46,25.5,016610000002,0.C.2/9000074/20050214/10000002
oaizib_003,9000111,right,V00,imagesTr/,labelsTr/,1,0,train,M,47,26.5,016610000003,0.C.2/9000111/20050314/10000003
oaizib_004,9000148,right,V00,imagesTr/,labelsTr/,2,1,train,F,48,,016610000004,0.C.2/9000148/20050414/10000004
oaizib_005,9000185,right,V00,imagesTr/,labelsTr/,3,1,train,M,49,,016610000005,0.C.2/9000185/20050514/10000005
oaizib_006,9000222,right,V00,imagesTr/,labelsTr/,4,1,train,F,50,29.5,016610000006,0.C.2/9000222/20050614/10000006
oaizib_007,9000259,right,V00,imagesTr/,labelsTr/,,,train,M,51,30.5,016610000007,0.C.2/9000259/20050714/10000007
oaizib_405,9014985,right,V00,imagesTs/,labelsTs/,0,0,test,M,45,24.5,016610000405,0.C.2/9014985/20050114/10000405
oaizib_406,9015022,left,V00,imagesTs/,labelsTs/,1,0,test,F,46,25.5,016610000406,0.C.2/9015022/20050214/10000406
oaizib_407,9015059,right,V00,imagesTs/,labelsTs/,,,test,M,47,26.5,016610000407,0.C.2/9015059/20050314/10000407
"""
"""The manifest of the miniature, without what the names of files say."""


def expected(source: Path, relative: str) -> list[list[str]]:
    """All cells of the manifest of an unpacked tree, worked out from the files."""
    header, *lines = (line.split(",") for line in EXPECTED.splitlines())
    rows = [[*header[:-1], "source_hash", "licence"]]
    for cells in lines:
        cells[4] += f"{cells[0]}_0000.nii.gz"
        cells[5] += f"{cells[0]}.nii.gz"
        digest = hashlib.sha256((source / cells[4]).read_bytes()).hexdigest()
        paths = [f"{relative}/{cells[4]}", f"{relative}/{cells[5]}"]
        rows.append([*cells[:4], *paths, *cells[6:], cells[4], digest, "CC BY-NC 4.0"])
    return rows


def cells(folder: Path) -> list[list[str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_oaizib_cm(tmp_path / "tree", train=7, test=3)


@pytest.mark.parametrize(("tables", "info"), [("xlsx", True), ("xlsx", False), ("csv", True), ("csv", False)])
def test_every_layout_gives_exactly_this_manifest(tmp_path: Path, tables: str, info: bool) -> None:
    tree = make_oaizib_cm(tmp_path / "tree", train=7, test=3, tables=tables, info=info)
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    result = import_oaizib_cm(tree, tmp_path / "dest", progress=False)
    assert cells(tmp_path / "dest") == expected(tree, "../tree")
    assert result.left_out == []
    assert result.report["counts"]["kl"] == {"0": 3, "1": 2, "2": 1, "3": 1, "4": 1, "unknown": 2}
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert not list((tmp_path / "dest").rglob("*.nii*"))


def test_the_manifest_is_sorted_by_grade_and_says_so(tree: Path, tmp_path: Path) -> None:
    manifest = import_oaizib_cm(tree, tmp_path / "dest", progress=False).manifest
    train = manifest.subset("train").labels("kl")
    known = train[train >= 0]
    assert (np.diff(known) >= 0).all()
    assert len(set(known.tolist())) == 5  # which is why the first N are no sample
    mixed = manifest.with_validation(0.3, seed=0, allow_missing_class=True)
    assert (mixed.table["split"] == "test").sum() == 3
    assert (mixed.table["split"] == "val").any()


def test_orientation_comes_from_the_affine(tree: Path, tmp_path: Path) -> None:
    manifest = import_oaizib_cm(tree, tmp_path / "dest", progress=False).manifest
    assert len(AXES) == 4
    for position in range(len(manifest)):
        labels = read_image(manifest.file(position, "cartilage")).data
        middle = [np.argwhere(labels == value).mean(axis=0) for value in range(6)]
        assert middle[1][2] > middle[2][2] > middle[3][2], manifest.table["knee"][position]
        assert (middle[4][0] < middle[5][0]) == (manifest.table["side"][position] == "right")


@pytest.mark.parametrize("prefix", ["", "OAIZIB-CM/"])
def test_a_zip_archive(tree: Path, tmp_path: Path, prefix: str) -> None:
    archive = zipped(tree, tmp_path / "download.zip", prefix)
    result = import_oaizib_cm(archive, tmp_path / "dest", progress=False)
    rows = expected(tree, "..")
    for row in rows[1:]:
        row[4], row[5] = f"images/{row[0]}_0000.nii.gz", f"cartilage/{row[0]}.nii.gz"
        row[14] = f"download.zip/{prefix}{row[14]}"
    assert cells(tmp_path / "dest") == rows
    size = sum(path.stat().st_size for path in (tmp_path / "dest").rglob("*.nii.gz"))
    assert result.report["written"] == {"files": 20, "bytes": size}
    before = (tmp_path / "dest/manifest.csv").stat().st_mtime_ns
    import_oaizib_cm(archive, tmp_path / "dest", progress=False)
    assert (tmp_path / "dest/manifest.csv").stat().st_mtime_ns == before


def test_a_folder_of_archives_and_a_destination_in_it(tree: Path, tmp_path: Path) -> None:
    source = tmp_path / "parts"
    source.mkdir()
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        flat = name.endswith("Ts")  # packed with or without the folder's own name
        zipped(tree / name, source / f"{name}.zip", "" if flat else f"{name}/")
    shutil.copytree(tree / "info", source / "info")
    for _ in range(2):
        result = import_oaizib_cm(source, source / "dest", progress=False)
        assert len(result.manifest) == 10
        assert result.left_out == []
    assert result.manifest.table["source"].iloc[-1] == "imagesTs.zip/oaizib_407_0000.nii.gz"


def make_faults(tree: Path) -> None:
    """Spoil a miniature in every way that the importer looks for."""
    train = read_rows(tree / "info/subInfo_train.xlsx")
    test = read_rows(tree / "info/subInfo_test.xlsx")
    (tree / "imagesTr/oaizib_001_0000.nii.gz").unlink()  # a row without an image, a map without one
    train[1][5] = "KL2"
    train[2][4] = 3  # no side
    train[3][0] = 12345  # no id of the OAI
    (tree / "labelsTr/oaizib_005.nii.gz").unlink()
    train[5][6] = 9  # no sex
    path = tree / "imagesTr/oaizib_007_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])
    train += [table_row(8, 7, 4, False), table_row(8, 8, 3, False), ["9009999", "knee eight", *[None] * 7]]
    train += [table_row(9, 8, 2, False), table_row(10, 9, 2, False)]
    (tree / "imagesTs/oaizib_009_0000.nii.gz").write_bytes(
        (tree / "imagesTs/oaizib_405_0000.nii.gz").read_bytes()
    )
    write_knee(tree / "imagesTr/oaizib_008_0000.nii.gz", None, 4, 8)
    write_knee(tree / "imagesTr/oaizib_010_0000.nii.gz", None, 4, 10)
    write_knee(tree / "imagesTr/oaizib_099_0000.nii.gz", None, 4, 99)  # no row
    write_knee(tree / "imagesTr/another.nii.gz", None, 4, 99)
    (tree / "imagesTr/._oaizib_002_0000.nii.gz").write_bytes(b"of a Mac")
    write_knee(tree / "labelsTs/oaizib_405.nii.gz", None, 0, 1)  # an image in place of the map
    write_knee(tree / "x.nii.gz", tree / "labelsTs/oaizib_406.nii.gz", 0, 3)  # of another knee
    (tree / "x.nii.gz").unlink()
    test[2][0] = train[-1][0]  # the subject of oaizib_010
    write_rows(tree / "info/subInfo_train.xlsx", train)
    write_rows(tree / "info/subInfo_test.xlsx", test)


def test_faults_are_left_out_with_their_reasons(tree: Path, tmp_path: Path) -> None:
    make_faults(tree)
    result = import_oaizib_cm(tree, tmp_path / "dest", progress=False)
    assert result.manifest.table["knee"].tolist() == ["oaizib_005", "oaizib_006"]
    reasons = {(item.knee, item.source): item.reason for item in result.left_out}
    info = "info/subInfo_train.xlsx row"
    found = {
        ("oaizib_001", f"{info} 2"): "there is no image imagesTr/oaizib_001_0000.nii.gz",
        ("oaizib_001", "labelsTr/oaizib_001.nii.gz"): "a label map without an image of that number",
        (
            "oaizib_002",
            f"{info} 3",
        ): "column 'KLGrade': expected a grade 0-4 as a number, or an empty cell, got 'KL2'",
        ("oaizib_003", f"{info} 4"): "KneeSide: expected 1 (right) or 2 (left), got '3'",
        ("oaizib_004", f"{info} 5"): "SubjectID: expected the 7 digits of the OAI, got '12345'",
        (
            "oaizib_007",
            "imagesTr/oaizib_007_0000.nii.gz",
        ): "imagesTr/oaizib_007_0000.nii.gz is truncated or damaged",
        ("oaizib_008", f"{info} 9"): "CMT-ID oaizib_008 occurs in 2 rows",
        ("oaizib_008", f"{info} 10"): "CMT-ID oaizib_008 occurs in 2 rows",
        ("", f"{info} 11"): "CMT-ID: expected oaizib_ and a number, got 'knee eight'",
        ("oaizib_009", f"{info} 12"): "the table says train, the image is imagesTs/oaizib_009_0000.nii.gz",
        ("oaizib_010", f"{info} 13"): "subject 9000370 is in both tables",
        ("oaizib_407", "info/subInfo_test.xlsx row 4"): "subject 9000370 is in both tables",
        (
            "oaizib_099",
            "imagesTr/oaizib_099_0000.nii.gz",
        ): "no row in subInfo_train or subInfo_test has this CMT-ID",
        ("", "imagesTr/another.nii.gz"): "expected a name as oaizib_",
        ("oaizib_405", "imagesTs/oaizib_405_0000.nii.gz"): "oaizib_405.nii.gz: unknown label ids",
        ("oaizib_406", "imagesTs/oaizib_406_0000.nii.gz"): "labelsTs/oaizib_406.nii.gz: mask of another grid",
    }
    assert set(reasons) == set(found)
    for key, start in found.items():
        assert reasons[key].startswith(start), (key, reasons[key])
    assert result.manifest.table["cartilage"].tolist()[0] == ""
    assert result.manifest.table["sex"].tolist() == ["M", ""]
    assert result.report["notes"] == [
        "info/subInfo_train.xlsx row 7: Gender '9' is neither 1 (M) nor 2 (F), left empty",
        "1 knees have no label map in labelsTr or labelsTs; they are kept without one",
    ]


def test_a_column_without_any_grade_is_refused(tree: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        path = tree / f"info/subInfo_{name}.xlsx"
        write_rows(path, [[*row[:5], "II", *row[6:]] for row in read_rows(path)])
    with pytest.raises(
        ValueError, match=r"subInfo_train.xlsx row 2, column 'KLGrade'.*none of 10 grades can be read"
    ):
        import_oaizib_cm(tree, tmp_path / "dest", progress=False)


def test_a_missing_table(tree: Path, tmp_path: Path) -> None:
    (tree / "info/subInfo_test.xlsx").unlink()
    result = import_oaizib_cm(tree, tmp_path / "dest", progress=False)
    assert len(result.manifest) == 7
    assert result.report["notes"] == ["there is no table subInfo_test; its knees are left out"]
    assert [item.knee for item in result.left_out] == ["oaizib_405", "oaizib_406", "oaizib_407"]
    (tree / "info/subInfo_train.xlsx").unlink()
    with pytest.raises(ValueError, match=r"expected the tables info/subInfo_train.xlsx .* found neither"):
        import_oaizib_cm(tree, tmp_path / "dest", progress=False)


def test_missing_columns_and_images(tree: Path, tmp_path: Path) -> None:
    shutil.rmtree(tree / "imagesTr")
    shutil.rmtree(tree / "imagesTs")
    with pytest.raises(ValueError, match="found no image of that name"):
        import_oaizib_cm(tree, tmp_path / "dest", progress=False)
    write_rows(tree / "info/subInfo_train.xlsx", [[1]], ("SubjectID",))
    with pytest.raises(ValueError, match=r"expected one column 'CMT-ID' or 'CMT_ID', got 0"):
        import_oaizib_cm(tree, tmp_path / "dest", progress=False)


def test_unpacked_files_come_before_archives(tree: Path, tmp_path: Path) -> None:
    zipped(tree, tree / "OAIZIB-CM.zip")
    result = import_oaizib_cm(tree, tmp_path / "dest", progress=False)
    assert cells(tmp_path / "dest") == expected(tree, "../tree")
    assert result.left_out == []
    assert (
        "info/subInfo_train.xlsx is read, OAIZIB-CM.zip/info/subInfo_train.xlsx not" in result.report["notes"]
    )


def test_a_damaged_member_is_left_out(tree: Path, tmp_path: Path) -> None:
    path = tree / "imagesTr/oaizib_002_0000.nii.gz"
    path.write_bytes(os.urandom(5000))  # found when it is opened
    archive = zipped(tree, tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    place = content.index(b"imagesTr/oaizib_003_0000.nii.gz") + 3000
    content[place] ^= 255  # found when it is extracted
    archive.write_bytes(content)
    result = import_oaizib_cm(archive, tmp_path / "dest", progress=False)
    reasons = {item.knee: item.reason for item in result.left_out}
    assert set(reasons) == {"oaizib_002", "oaizib_003"}
    assert reasons["oaizib_003"].startswith("a.zip/imagesTr/oaizib_003_0000.nii.gz is damaged: Bad CRC-32")
    assert len(result.manifest) == 8


def test_knees_reach_a_batch(tree: Path, tmp_path: Path) -> None:
    manifest = import_oaizib_cm(tree, tmp_path / "dest", progress=False).manifest.with_validation(0.4)
    data = oh.KneeMRIDataModule(manifest, shape=(12, 16, 16), batch_size=2, cache=tmp_path / "cache")
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert batch["mri"].shape == (2, 1, 12, 16, 16)
    assert batch["knee"] == ["oaizib_405", "oaizib_406"]


def test_a_folder_of_the_source_is_no_destination(tmp_path: Path) -> None:
    make_oaizib_cm(tmp_path / "tree", train=3, test=1)
    with pytest.raises(ValueError, match=r"imagesTr is a folder of the source, with oaizib_001_0000"):
        import_oaizib_cm(tmp_path / "tree", tmp_path / "tree/imagesTr", progress=False)
    for _ in range(2):
        result = import_oaizib_cm(tmp_path / "tree", tmp_path / "tree/knees", progress=False)
        assert len(result.manifest) == 4
