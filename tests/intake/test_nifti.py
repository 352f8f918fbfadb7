"""A folder of image files and a table of grades."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from miniature.oaizib_cm import write_knee

from oahier.cli import main
from oahier.intake import import_nifti


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("0071/V00_left", "0071/V00_R", "0071/V01_left", "0100/V00_right")):
        path = tmp_path / "knees" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_knee(path, path.with_name(f"{path.name[:-7]}_seg.nii.gz"), number, number)
    (tmp_path / "knees/notes.txt").write_text("x")
    (tmp_path / "knees/0100/localiser.nii.gz").write_bytes(b"")
    (tmp_path / "grades.csv").write_text(
        "ID,leg,when,grade,age\n71,1,V00,2,61\n71,2,V00,0,61\n71,1,V01,,62\n9000,1,V00,4,70\n"
    )
    return tmp_path


def rows(result: Any, *columns: str) -> list[list[Any]]:
    return result.manifest.table[list(columns)].to_numpy().tolist()


PATTERN = "{subject}/{visit}_{side}.nii.gz"
COLUMNS = "subject=ID,side=leg,visit=when,kl=grade"
CODES = "side.1=left,side.2=right"


def test_paths_grades_and_label_maps(folder: Path) -> None:
    result = import_nifti(
        folder / "knees", folder / "dest", pattern=PATTERN, cartilage="{subject}/{visit}_{side}_seg.nii.gz",
        grades=folder / "grades.csv", columns=COLUMNS, values=CODES, progress=False,
    )  # fmt: skip
    assert rows(result, "knee", "subject", "side", "visit", "kl") == [
        ["0071-left-V00", "0071", "left", "V00", 2],
        ["0071-left-V01", "0071", "left", "V01", -1],
        ["0071-right-V00", "0071", "right", "V00", 0],
        ["0100-right-V00", "0100", "right", "V00", -1],
    ]
    assert result.manifest.table["age"].tolist()[:3] == [61, 62, 61]
    assert rows(result, "mri", "cartilage")[0] == [
        "../knees/0071/V00_left.nii.gz", "../knees/0071/V00_left_seg.nii.gz",
    ]  # fmt: skip
    assert {item.source: item.reason for item in result.left_out} == {
        "0100/localiser.nii.gz": f"the path does not fit {PATTERN}",
        "grades.csv row 5": "no file with subject '9000', side 'left', visit 'V00'",
    }
    assert result.report["notes"][0] == "1 ids had lost leading zeros, '71' is '0071' in file names"
    assert "ID" not in result.manifest.table, "what files and rows are joined by is there once"


def test_rows_that_fit_several_files_grade_none_of_them(folder: Path) -> None:
    """One grade of a subject must not become that of both knees."""
    (folder / "grades.csv").write_text("subject,kl\n0071,2\n0100,3\n")
    result = import_nifti(
        folder / "knees", folder / "dest", pattern=PATTERN, grades=folder / "grades.csv", progress=False
    )
    assert rows(result, "knee", "kl") == [["0100-right-V00", 3]]
    reasons = [item.reason for item in result.left_out if item.subject == "0071"]
    assert len(reasons) == 3
    assert reasons[0].startswith("1 rows (2) of grades.csv and 3 files have the same subject; name the")


def test_patterns(folder: Path) -> None:
    def read(pattern: str, **options: Any) -> list[list[Any]]:
        found = import_nifti(folder / "knees", folder / "dest", pattern=pattern, progress=False, **options)
        return rows(found, "knee")

    assert read("**/{subject}/*_{side}.nii.gz", covariates="none") == [["0071-right"], ["0100-right"]]
    for pattern, message in (
        ("{name}.nii.gz", r"expected {subject} or {knee} in it"),
        ("{subject}.mha", r"no file in .*knees fits '{subject}.mha'; its 9 image files are 0071/V00_R"),
    ):
        with pytest.raises(ValueError, match=message):
            read(pattern)
    (folder / "grades.csv").write_text("patient,kl\n0071,2\n")
    with pytest.raises(ValueError, match=r"expected a column with the subject, visit, side of the pattern"):
        read(PATTERN, grades=folder / "grades.csv")
    with pytest.raises(ValueError, match="expected a folder of image files, got a file"):
        import_nifti(folder / "grades.csv", folder / "dest", pattern=PATTERN)


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "import", "nifti", str(folder / "knees"), str(folder / "out")]
    words += ["--pattern", PATTERN, "--grades", str(folder / "grades.csv"), "--columns", COLUMNS]
    assert main([*words, "--values", CODES, "--workers", "0", "--no-progress"]) == 0
    printed = capsys.readouterr().out
    assert "4 knees of 2 subjects" in printed
    assert "0: 1, 2: 1, unknown: 2" in printed
    with pytest.raises(SystemExit):
        main(words[:5])
    assert "pattern" in capsys.readouterr().err.strip().splitlines()[-1]
