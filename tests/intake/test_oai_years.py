"""All visits of the OAI, with every trap of the tree and its tables: exactly this manifest comes out."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature.oai import write_dess
from miniature.oai_years import make_oai_years, place

import oahier as oh
import oahier.intake.oai_tree as oai_tree
from oahier.images import read_image
from oahier.intake import ImportResult
from oahier.intake.oai import import_oai

EXPECTED = """\
knee,subject,side,visit,kl,oa,scan_date,month,source
0071234-left-V00,0071234,left,V00,,,2004-03-14,0,00m/0.C.2/0071234/20040314/10030001
0071234-right-V00,0071234,right,V00,0,0,2004-03-14,0,00m/0.C.2/0071234/20040314/10030000
0071234-right-V03,0071234,right,V03,1,0,2006-03-14,24,24m/3.C.2/0071234/20060314/10030002
9000099-left-V00,9000099,left,V00,1,0,2004-03-14,0,00m/0.C.2/9000099/20040314/10000001
9000099-left-V01,9000099,left,V01,,,2005-03-14,12,12m/1.C.2/9000099/20050314/10000003
9000099-right-V00,9000099,right,V00,2,1,2004-03-14,0,00m/0.C.2/9000099/20040314/10000000
9000099-right-V01,9000099,right,V01,2,1,2005-03-14,12,12m/1.C.2/9000099/20050314/10000002
9000099-right-V03,9000099,right,V03,3,1,2006-03-14,24,24m/3.C.2/9000099/20060314/10000004
9000296-left-V00,9000296,left,V00,4,1,2004-03-14,0,00m/0.C.2/9000296/20040314/10010002
9000296-right-V00,9000296,right,V00,,,2004-05-02,0,00m/0.C.2/9000296/20040502/10010000
9001104-right-V00,9001104,right,V00,,,2004-03-14,0,00m/0.C.2/9001104/20040314/10040000
9001104-right-V05,9001104,right,V05,3,1,2007-03-14,36,36m/5.C.2/9001104/20070314/10040001
9001104-right-V06,9001104,right,V06,3,1,2008-03-14,48,48m/6.C.2/9001104/20080314/10040002
9001104-right-V08,9001104,right,V08,4,1,2010-03-14,72,72m/8.C.2/9001104/20100314/10040003
9001104-right-V10,9001104,right,V10,4,1,2012-03-14,96,96m/10.C.2/9001104/20120314/10040004
9001400-left-V00,9001400,left,V00,,,2004-03-14,0,00m/0.C.2/9001400/20040314/10020005
"""
"""The manifest of the miniature, without paths and hashes."""

LEFT_OUT = [
    ("10020004", "", "9001400", "its header cannot be read: 001: neither SOPClassUID nor Rows"),
    ("10010003", "9000296-left-V00", "9000296", "1 missing"),
    ("10010001", "9000296-right-V00", "9000296", "20040502/10010000 is a later series of the same knee"),
    (
        "10020001",
        "9000622-left-V00",
        "9000622",
        "the description SAG_3D_DESS_LEFT says left, the header right",
    ),
    ("10020000", "9000622-right-V00", "9000622", "1 missing, the widest gap is behind 00"),
    ("10020003", "9000798-left-V00", "9000798", "006 is a damaged DICOM file"),
    ("10020002", "9000798-right-V00", "9000798", "the folder says 9000798, the header's PatientID 9000799"),
]
"""Series, knee, subject and a part of the reason."""

SUMMARY = [
    "4 series of other descriptions were passed over",
    "3 knees were read in several projects, 3 of them with different grades; 15, then 37, then 42 is taken",
    "9001104 right V00 has no grade: read as 2 and 3 in project 15 "
    "(kxr_sq_bu00.txt row 15, kxr_sq_bu00.txt row 16)",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_oai_years(tmp_path_factory.mktemp("oai"))


@pytest.fixture(scope="module")
def imported(made: Path) -> ImportResult:
    return run(made, made.parent / "dest")


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    """The five visits of one person, which may be spoiled."""
    for path in made.rglob("9001104"):
        shutil.copytree(path, tmp_path / "tree" / path.relative_to(made))
    shutil.copytree(made / "tables", tmp_path / "tree/tables")
    return tmp_path / "tree"


def run(source: Path, destination: Path, **options: Any) -> ImportResult:
    return import_oai(source, destination, progress=False, **options)


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def digest(folder: Path) -> str:
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_exactly_this_manifest(made: Path, imported: ImportResult) -> None:
    up = os.path.relpath(made, imported.folder)
    expected = []
    for row in csv.DictReader(EXPECTED.splitlines()):
        row["source"] = f"results/{row['source']}"
        more = {"mri": f"{up}/{row['source']}", "cartilage": "", "split": ""}
        more["licence"] = "OAI data use agreement (NDA); no re-identification"
        more["source_hash"] = digest(made / row["source"])
        expected.append(row | more)
    assert manifest(imported.folder) == expected
    assert imported.report["written"] == {"files": 0, "bytes": 0}
    assert imported.report["counts"]["visit"] == {
        "V00": 8, "V01": 2, "V03": 2, "V05": 1, "V06": 1, "V08": 1, "V10": 1,
    }  # fmt: skip


def test_the_source_is_only_read(tree: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    run(tree, tmp_path / "dest")
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*")}


def test_exactly_these_are_left_out(imported: ImportResult) -> None:
    result = imported
    found = [(item.source[-8:], item.knee, item.subject) for item in result.left_out]
    assert found == [(series, knee, subject) for series, knee, subject, _ in LEFT_OUT]
    for item, (_, _, _, reason) in zip(result.left_out, LEFT_OUT, strict=True):
        assert reason in item.reason
    with (imported.folder / "left-out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["knee"], row["reason"]) for row in rows] == [(i.knee, i.reason) for i in result.left_out]
    assert result.report["notes"][:3] == SUMMARY
    missing = {note.split("grade: ")[1] for note in result.report["notes"][3:]}
    assert missing == {
        "missing in the tables (.D)", "missing in the tables (.P)", "missing in the tables (.T)",
        "no row in the tables", "read as 2 and 3 in project 15",
    }  # fmt: skip


def test_odd_matrix_sizes(imported: ImportResult) -> None:
    shapes = {}
    for position, knee in enumerate(imported.manifest.table["knee"]):
        image = read_image(imported.manifest.file(position, "mri"))
        shapes[knee] = image.data.shape
        signs = np.sign(np.diag(image.grid.affine)[:3])
        assert signs.tolist() == [1, 1, 1], f"{knee} is not turned to right, anterior, superior"
    assert shapes["0071234-right-V00"] == (10, 22, 24)
    assert shapes["0071234-left-V00"] == (11, 24, 24)
    assert shapes["0071234-right-V03"] == (9, 24, 24)
    assert shapes["9000099-left-V00"] == (10, 24, 24)


def test_all_of_a_person_is_one_subject(imported: ImportResult) -> None:
    table = imported.manifest.table
    assert table["subject"].nunique() == 5
    assert (table["subject"] == table["knee"].str[:7]).all()
    assert (table["subject"] == "9000099").sum() == 5
    assert table["subject"].str.len().eq(7).all(), "leading zeros are kept"


@pytest.mark.parametrize(
    ("options", "knees"),
    [
        ({"visits": "24m"}, ["0071234-right-V03", "9000099-right-V03"]),
        ({"visits": ["V08", "v10"]}, ["9001104-right-V08", "9001104-right-V10"]),
        ({"visits": "V01", "sides": "left"}, ["9000099-left-V01"]),
    ],
)
def test_visits_and_sides_are_chosen(
    made: Path, tmp_path: Path, options: dict[str, Any], knees: list[str]
) -> None:
    result = run(made, tmp_path / "dest", **options)
    assert result.manifest.table["knee"].tolist() == knees
    passed = [note for note in result.report["notes"] if "passed over" in note]
    assert any("of visit V00" in note for note in passed)


def test_a_second_look_opens_no_header(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tree, tmp_path / "dest")
    wanted = (tmp_path / "dest/manifest.csv").read_bytes()
    opened: list[str] = []
    read = oai_tree.read_slices
    monkeypatch.setattr(oai_tree, "read_slices", lambda path: opened.append(path.parent.name) or read(path))
    again = run(tree, tmp_path / "dest")
    assert opened == []
    assert (tmp_path / "dest/manifest.csv").read_bytes() == wanted
    assert again.left_out == first.left_out
    series = place(tree, "V10", "9001104", "10040004")
    shutil.copytree(series, place(tree, "V10", "9001104", "10040009", day="0315"))
    shutil.rmtree(series)
    third = run(tree, tmp_path / "dest")
    assert opened == ["10040009"]
    assert third.manifest.table["source"].iloc[-1].endswith("9001104/20120315/10040009")


def test_an_interrupted_look_goes_on(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, opened = oai_tree.read_slices, []

    def until_three(path: Path) -> Any:
        opened.append(path)
        if len(opened) == 3:
            raise KeyboardInterrupt
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(oai_tree, "read_slices", until_three)
        with pytest.raises(KeyboardInterrupt):
            run(tree, tmp_path / "dest")
    store = tmp_path / "dest/.import/series.jsonl"
    store.write_text(store.read_text() + '{"path": "results/00m/0.C')  # the last line of a killed process
    later: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(oai_tree, "read_slices", lambda path: later.append(path) or read(path))
        run(tree, tmp_path / "dest")
    assert not {path.parent for path in later} & {path.parent for path in opened[:2]}
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
    run(tree, tmp_path / "fresh")
    assert (tmp_path / "dest/manifest.csv").read_bytes() == (tmp_path / "fresh/manifest.csv").read_bytes()


def test_an_interrupted_import_goes_on(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oahier.intake import write

    examine, done = write.examine, []

    def until_two(candidate: Any, **options: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(candidate.knee)
        return examine(candidate, **options)

    with monkeypatch.context() as patch:
        patch.setattr(write, "examine", until_two)
        with pytest.raises(KeyboardInterrupt):
            run(tree, tmp_path / "dest")
    assert not (tmp_path / "dest/manifest.csv").exists()
    later: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            write,
            "examine",
            lambda candidate, **options: later.append(candidate.knee) or examine(candidate, **options),
        )
        run(tree, tmp_path / "dest")
    assert len(done) == 2
    assert not set(later) & set(done)
    assert [row["visit"] for row in manifest(tmp_path / "dest")] == ["V00", "V05", "V06", "V08", "V10"]


def test_a_new_table_changes_grades_and_opens_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tree, tmp_path / "dest", grades=tree / "tables")
    table = tree / "tables/kxr_sq_bu10.txt"
    table.write_bytes(table.read_bytes().replace(b"|4|", b"|3|"))
    from oahier.intake import write

    monkeypatch.setattr(write, "examine", lambda *_, **__: pytest.fail("an image was opened"))
    result = run(tree, tmp_path / "dest", grades=tree / "tables")
    assert result.manifest.table.set_index("knee")["kl"]["9001104-right-V10"] == 3


def test_knees_reach_a_batch(imported: ImportResult, tmp_path: Path) -> None:
    path = imported.folder / "test.csv"
    rows = [row | {"split": "test"} for row in manifest(imported.folder)[:4]]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = oh.KneeMRIDataModule(
        path,
        shape=(10, 12, 12),
        spacing=(1.5, 2.8, 2.8),
        batch_size=4,
        mirror_left=True,
        cache=tmp_path / "cache",
    )
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert batch["mri"].shape == (4, 1, 10, 12, 12)
    assert batch["subject"] == ["0071234"] * 3 + ["9000099"]


def test_two_series_that_both_lack_slices(tmp_path: Path) -> None:
    """Neither is used, and none is said to be."""
    for number, lost in enumerate(("004", "006")):
        (write_dess(place(tmp_path, "V00", "9000099", f"1000000{number}"), "right") / lost).unlink()
    write_dess(place(tmp_path, "V00", "9000099", "10000005"), "left")
    result = run(tmp_path / "results", tmp_path / "dest")
    assert result.manifest.table["knee"].tolist() == ["9000099-left-V00"]
    assert [item.source[-1] for item in result.left_out] == ["0", "1"]
    for item in result.left_out:
        assert "1 missing" in item.reason
        assert "is used" not in item.reason
