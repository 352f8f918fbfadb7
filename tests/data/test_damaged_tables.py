"""Damaged manifests, label tables and archives: refused by name, or read as far as their checksums reach."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path

import openpyxl
from hypothesis import assume, given
from hypothesis import strategies as st
from miniature.damage import SEEN, Damage, appended, flipped, quick

from oahier.data.manifest.manifest import read_manifest
from oahier.intake.archives import Archive
from oahier.intake.spreadsheets import read_table
from oahier.problems import ManifestError

ANY = st.one_of(SEEN, flipped(), appended())
ROWS = [["ID", "SIDE", "V00XRKL"], ["9000001", "1: Right", "2"], ["0900002", "2: Left", ".P"]]


def table(folder: Path) -> Path:
    """A manifest of three knees whose files exist."""
    rows = ["knee,subject,side,visit,mri,cartilage,kl,oa,split"]
    for number in range(3):
        (folder / f"{number}.nii.gz").touch()
        rows.append(f"k{number},s{number},left,,{number}.nii.gz,,{number},,train")
    path = folder / "manifest.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@quick(40)
@given(change=st.one_of(SEEN, flipped(), appended()))
def test_a_manifest(tmp_path: Path, change: Damage) -> None:
    path = table(tmp_path)
    original = path.read_bytes()
    path.write_bytes(change(original))
    manifest, refusal = None, "manifest.csv"
    try:
        manifest = read_manifest(path)
    except ManifestError as error:
        refusal = str(error)
    assert "manifest.csv" in refusal
    if manifest is not None:  # a cell without checksum may have changed; the table still keeps every rule
        assert 0 < len(manifest) <= 3 + change(original).count(b"\n")
        assert manifest.table["knee"].is_unique
        assert manifest.table["kl"].isin([-1, 0, 1, 2, 3, 4]).all()


def changed(path: Path, change: Damage, original: bytes) -> bytes:
    content = change(original)
    assume(content != original)
    path.write_bytes(content)
    return content


@quick(40)
@given(change=ANY)
def test_a_text_table(tmp_path: Path, change: Damage) -> None:
    path = tmp_path / "kxr_sq_bu00.txt"
    content = changed(path, change, "\n".join("|".join(row) for row in ROWS).encode())
    table, refusal = None, path.name
    try:
        table = read_table(path)
    except ValueError as error:
        refusal = str(error)
    assert path.name in refusal
    if table is not None:  # without a checksum: every row still fits the header
        assert len(table.cells) <= content.count(b"\n") + content.count(b"\r")
        assert all(isinstance(cell, str) for row in table.cells.to_numpy() for cell in row)


@functools.cache
def workbook() -> bytes:
    """Made once: it holds the time, and a fuzzer wants the same bytes again."""
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in ROWS:
        book.active.append(row)
    book.save(stream)
    return stream.getvalue()


@quick(40)
@given(change=ANY)
def test_a_workbook(tmp_path: Path, change: Damage) -> None:
    """Its parts have checksums: refused, or the same cells."""
    path = tmp_path / "subInfo.xlsx"
    changed(path, change, workbook())
    cells, refusal = ROWS, path.name
    try:
        table = read_table(path)
        cells = [list(table.cells), *table.cells.to_numpy().tolist()]
    except ValueError as error:
        refusal = str(error)
    assert path.name in refusal
    assert cells == ROWS


@quick(60)
@given(change=ANY)
def test_an_archive(tmp_path: Path, change: Damage) -> None:
    """Members have checksums: refused, or the same bytes under the same names."""
    members = {"imagesTr/1.nii.gz": bytes(range(256)) * 20, "info/a.csv": b"knee,kl\n1,2\n" * 30}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    path = tmp_path / "images.zip"
    changed(path, change, stream.getvalue())
    found, refusal = dict(members), path.name
    try:
        opened = Archive(path)
        found = {name: opened.read(name) for name in opened.names}
    except ValueError as error:
        refusal = str(error)
    assert path.name in refusal
    assert found.items() <= members.items()
