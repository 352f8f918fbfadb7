from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oahier.data import Manifest, ManifestError, read_manifest
from oahier.files import EMPTY_CELL
from oahier.types import MISSING


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcdef":
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    return tmp_path


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_text(text, encoding=encoding)
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return [str(problem) for problem in caught.value.problems]


def test_ids_stay_text_and_missing_grades_are_marked(folder: Path) -> None:
    path = write(
        folder,
        "knee,subject,mri,kl,age\n 001 ,0007,a.nii.gz, 2.0 ,61\nb,0008,b.nii.gz,,\nc,9,c.nii.gz,NA,70\n",
    )
    manifest = read_manifest(path)
    table = manifest.table
    assert table["knee"].tolist() == ["001", "b", "c"]
    assert table["subject"].tolist() == ["0007", "0008", "9"]
    assert table["kl"].tolist() == [2, MISSING, MISSING]
    assert table["oa"].tolist() == [1, MISSING, MISSING]
    assert table["age"].iloc[0] == 61
    assert np.isnan(table["age"].iloc[1])
    assert table["side"].tolist() == ["", "", ""]
    assert (manifest.root, manifest.path, len(manifest)) == (folder, path, 3)
    assert manifest.file(0, "mri") == folder / "a.nii.gz"
    assert manifest.file(0, "cartilage") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_separators_and_line_ends(folder: Path, encoding: str, separator: str, end: str) -> None:
    text = end.join(["knee,subject,mri,oa", "ä,1,a.nii.gz,1", ""]).replace(",", separator)
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    assert read_manifest(path).table[["knee", "oa"]].values.tolist() == [["ä", 1]]


def test_covariates_become_numbers_only_if_all_are(folder: Path) -> None:
    path = write(folder, "knee,subject,mri,bmi,site,code\na,1,a.nii.gz,27.5,A,007\nb,2,b.nii.gz,30,B,120\n")
    table = read_manifest(path).table
    assert table["bmi"].tolist() == [27.5, 30.0]
    assert table["site"].tolist() == ["A", "B"]
    assert table["code"].tolist() == ["007", "120"]


def test_a_folder_means_its_manifest(folder: Path) -> None:
    write(folder, "knee,subject,mri\na,1,a.nii.gz\n")
    assert len(read_manifest(folder)) == 1
    assert len(read_manifest(str(folder))) == 1


@pytest.mark.parametrize("grade", ["KL2", "5", "-1", "2.5", "inf", "two", "2,0"])
def test_a_grade_that_is_none_is_an_error(folder: Path, grade: str) -> None:
    path = write(folder, f'knee,subject,mri,kl\na,1,a.nii.gz,"{grade}"\n')
    (problem,) = problems_of(path)
    assert problem == (
        "row 2, knee 'a', column 'kl': expected a whole number 0-4, "
        f"or an empty cell where it is unknown, got {grade!r}"
    )


def test_every_problem_is_listed_with_its_row(folder: Path) -> None:
    path = write(
        folder,
        "knee,subject,mri,cartilage,kl,oa,side,split\n"
        "a,1,a.nii.gz,,1,1,left,train\n"
        "a,1,b.nii.gz,,9,,right,test\n"
        "\n"
        "c,2,gone.nii.gz,nowhere.nii.gz,0,0,middle,training\n"
        ",3,d.nii.gz,,0,0,left,\n",
    )
    found = problems_of(path)
    expected = [
        f"row 6, column 'knee': expected a knee, got {EMPTY_CELL}",
        "row 3, knee 'a', column 'knee': duplicate knee: the name stands in rows 2, 3",
        "row 5, knee 'c', column 'side': expected one of left, right, got 'middle'",
        "row 5, knee 'c', column 'split': expected one of train, val, test, got 'training' (is it 'train'?)",
        "row 3, knee 'a', column 'kl': expected a whole number 0-4",
        "row 2, knee 'a', column 'oa': OA 1 contradicts KL 1, which means 0",
        f"row 5, knee 'c', column 'mri': missing file {folder / 'gone.nii.gz'}",
        f"row 5, knee 'c', column 'cartilage': missing file {folder / 'nowhere.nii.gz'}",
        "row 6, column 'split'",
        "row 3, knee 'a', column 'split': subject '1' is in 2 splits: train (row 2), test (row 3)",
    ]
    for text in expected:
        assert any(problem.startswith(text) for problem in found), (text, found)
    assert len(found) == len(expected), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("knee,mri\na,a.nii.gz\n", "missing column 'subject'; expected knee, subject, mri, got knee, mri"),
        ("knee,subject,mrii\na,1,a.nii.gz\n", "missing column 'mri' (is it 'mrii'?)"),
        ("knee,subject,mri,KL\na,1,a.nii.gz,2\n", "column 'KL': write it 'kl'"),
        ("knee,subject,mri,kl,kl\na,1,a.nii.gz,2,3\n", "column 'kl' stands 2 times"),
        ("knee,subject,mri\n", "at least one knee"),
        ("", "is empty"),
        ("knee,subject,mri\na,1\n", "row 2: expected 3 cells as in the header, got 2"),
        ("knee,subject,mri\nx/y,1,a.nii.gz\n", "becomes a file name"),
    ],
)
def test_tables_that_cannot_be_read(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        read_manifest(write(folder, text))


def test_other_files_are_refused(folder: Path) -> None:
    with pytest.raises(ManifestError, match=r"cannot read the manifest: No such file"):
        read_manifest(folder / "none.csv")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(write(folder, "knee,subject,mri\nä,1,a.nii.gz\n", encoding="latin-1"))


def test_long_lists_are_cut_in_the_message_only(folder: Path) -> None:
    rows = "".join(f"k{i},{i},a.nii.gz,7\n" for i in range(30))
    with pytest.raises(ManifestError, match="and 10 more") as caught:
        read_manifest(write(folder, "knee,subject,mri,kl\n" + rows))
    assert len(caught.value.problems) == 30


def test_write_and_read_again_elsewhere(folder: Path) -> None:
    path = write(folder, "knee,subject,mri,kl,age\n01,1,a.nii.gz,,50\nb,2,b.nii.gz,3,\n")
    manifest = read_manifest(path)
    copy = manifest.write(folder / "deep" / "copy.csv")
    assert copy.file(0, "mri") is not None
    assert copy.file(0, "mri").resolve() == folder / "a.nii.gz"
    pd.testing.assert_frame_equal(copy.table.drop(columns="mri"), manifest.table.drop(columns="mri"))


def test_from_table_checks_like_a_file(folder: Path) -> None:
    table = pd.DataFrame(
        {"knee": ["a", "b"], "subject": [1, 2], "mri": ["a.nii.gz", "b.nii.gz"], "kl": [4, MISSING]}
    )
    manifest = Manifest.from_table(table, folder)
    assert manifest.table["kl"].tolist() == [4, MISSING]
    assert manifest.table["subject"].tolist() == ["1", "2"]
    with pytest.raises(ManifestError, match="duplicate knee"):
        Manifest.from_table(table.assign(knee="a"), folder)


def test_labels_of_further_targets(folder: Path) -> None:
    path = write(folder, "knee,subject,mri,bml,age\na,1,a.nii.gz,3,50.5\nb,2,b.nii.gz,,60\n")
    manifest = read_manifest(path)
    assert manifest.labels("bml").tolist() == [3, MISSING]
    assert manifest.labels("kl").tolist() == [MISSING, MISSING]
    assert manifest.labels("age").tolist() == [50.5, 60.0]
    with pytest.raises(
        ManifestError, match="missing target column 'effusion'; expected one of oa, kl, bml, age"
    ):
        manifest.labels("effusion")
