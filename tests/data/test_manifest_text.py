"""Quotation marks that go wrong in a manifest lose no row in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from oahier.cli import main
from oahier.data import ManifestError, read_manifest


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
