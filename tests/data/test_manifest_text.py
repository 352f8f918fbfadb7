"""Quotation marks that go wrong in a manifest lose no row in silence."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

import oahier
from oahier.cli import main
from oahier.data import Manifest, ManifestError, read_manifest
from oahier.files import csv_text, read_frame, unmarked
from oahier.intake.spreadsheets import read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / f"{number}.nii.gz").touch()
    return tmp_path


def table(folder: Path, notes: list[str]) -> Path:
    rows = [f"k{number},s{number},{number}.nii.gz,1,{note}" for number, note in enumerate(notes)]
    (folder / "knees.csv").write_text("\n".join(["knee,subject,mri,kl,note", *rows]) + "\n")
    return folder / "knees.csv"


def test_an_open_quotation_mark(folder: Path) -> None:
    with pytest.raises(ManifestError, match="no readable CSV: unexpected end of data; row 3 has an odd"):
        read_manifest(table(folder, ["ok", '"swollen', "x", "y"]))


def test_a_quotation_mark_that_is_closed_later(folder: Path) -> None:
    """Two rows would become one."""
    with pytest.raises(ManifestError, match=r"row 2: a cell goes on in the next line"):
        read_manifest(table(folder, ['"swollen', 'ok"', "x", "y"]))


def test_quoted_cells_are_fine(folder: Path) -> None:
    manifest = read_manifest(table(folder, ['"a, b"', '"he said ""no"""', "", "y"]))
    assert manifest.table["note"].tolist() == ["a, b", 'he said "no"', "", "y"]


def test_huge_cells_and_empty_first_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ManifestError, match="no readable CSV: field larger than field limit"):
        read_manifest(table(folder, ["x" * 200_000]))
    path = table(folder, ["x"])
    path.write_text("\n" + path.read_text())
    assert main(["data", "check", str(path)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "expected the header in the first line, which is empty" in said


def test_a_name_too_long_for_a_file(folder: Path) -> None:
    path = table(folder, ["x"])
    path.write_text(path.read_text().replace("k0", "k" * 200))
    with pytest.raises(ManifestError, match=r"row 2.*use at most 120 characters"):
        read_manifest(path)


FORMULAS = (
    "=1+1",
    "+A1",
    "-A1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\uff1d1",
    "'=1",
    "''=1",
    "'plain'",
    "a\rb",
    "-5",
)


def test_ids_that_a_spreadsheet_would_run_are_marked_and_read_back(tmp_path: Path) -> None:
    """In every table: they have one writer, and one reader of marks."""
    path = tmp_path / "a.csv"
    path.write_text(csv_text(["knee", "x"], [[name, -0.5] for name in FORMULAS]), newline="")
    with path.open(newline="") as stream:
        cells = [row[0] for row in list(csv.reader(stream))[1:]]
    assert not any(re.match("[=+\\-@\t\r\uff1d]", cell) for cell in cells if cell != "-5")
    assert tuple(map(unmarked, cells)) == FORMULAS
    assert tuple(read_frame(path, ("knee",))["knee"]) == FORMULAS
    rows = read_table(path).rows()
    assert [row["knee"] for _, row in rows] == [name.strip() for name in FORMULAS]
    assert {row["x"] for _, row in rows} == {"-0.5"}


def test_a_manifest_with_formulas_as_ids(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    ids = [name for name in FORMULAS if name.isprintable()]
    table = pd.DataFrame({"knee": range(len(ids)), "subject": ids, "mri": "a.nii", "site": ids[::-1]})
    written = Manifest.from_table(table.astype(str), tmp_path).write(tmp_path / "manifest.csv")
    assert written.table["subject"].tolist() == ids
    assert written.table["site"].tolist() == ids[::-1]
    assert "\n0,'=1+1," in (tmp_path / "manifest.csv").read_text()


def test_no_table_is_written_by_anything_else() -> None:
    """csv.writer and to_csv know nothing of formulas."""
    source = Path(oahier.__file__).parent
    found = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"csv\.writer\(|DictWriter|\.to_csv\(", path.read_text(encoding="utf-8"))
    ]
    assert found == ["files.py"]
