from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature.damage import SEEN, Damage, flipped, quick
from miniature.oai import make_oai, pack, write_dess

import oahier.intake.oai_tree as tree
from oahier.images import read_image
from oahier.intake.oai import import_oai
from oahier.intake.oai_packed import unpack
from oahier.intake.oai_tree import find_folders

LATER = "results/00m/0.E.1/9001104/20041202/10800004"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_oai(tmp_path_factory.mktemp("oai"))


def run(source: Path, destination: Path, **options):
    return import_oai(source, destination, progress=False, **options)


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory):
    """The whole tree, imported once."""
    return run(source, tmp_path_factory.mktemp("whole") / "dest", covariates=source, convert=True)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


COLUMNS = (
    "knee,subject,side,visit,mri,cartilage,kl,oa,split,sex,age,bmi,site,scan_date,month,"
    "source,source_hash,licence"
)
MANIFEST = """
9000099-left-V00  1 F 59 23.8 C 2004-09-08 0 00m/0.C.2/9000099/20040908/10027613
9000099-right-V00 2 F 59 23.8 C 2004-09-08 0 00m/0.C.2/9000099/20040908/10027612
9000099-right-V01 3 F -  -    C 2005-09-12 12 12m/1.C.2/9000099/20050912/10566112
9000296-right-V00 0 M 69 -    D 2004-09-09 0 00m/0.E.1/9000296/20040909/10693701
9001104-left-V00  - - 72 29.8 A 2004-12-02 0 00m/0.E.1/9001104/20041202/10800004
9001104-right-V00 - - 72 29.8 A 2004-12-01 0 00m/0.E.1/9001104/20041201/10800001
"""
"""Knee, grade, sex, age, body mass index, site, date, month and folder."""


def test_the_whole_tree(whole) -> None:
    header, *found, packed = rows(whole.folder / "manifest.csv")
    assert header == COLUMNS.split(",")
    for line, row in zip(MANIFEST.strip().splitlines(), found, strict=True):
        knee, kl, *details, folder = (cell.replace("-", "") if cell == "-" else cell for cell in line.split())
        oa = {"": "", "0": "0", "1": "0"}.get(kl, "1")
        assert row[:9] == [knee, *knee.split("-"), f"images/{knee}.nii.gz", "", kl, oa, ""]
        assert row[9:-2] == [*details, f"results/{folder}"]
    assert packed[:4] == ["9001400-right-V03", "9001400", "right", "V03"]
    assert packed[14:16] == ["24", "results/24m/3.E.1/9001400/20061005/11000001.tar.gz"]
    assert {row[-1] for row in found} == {"OAI data use agreement (NDA); no re-identification"}
    assert len(whole.manifest.table) == 7


def test_folders_are_used_where_they_lie(source: Path, tmp_path: Path) -> None:
    table = run(source, tmp_path / "dest", visits="V00,V03").manifest.table.set_index("knee")
    up = os.path.relpath(source, tmp_path / "dest")
    assert table.at["9000099-left-V00", "mri"] == f"{up}/results/00m/0.C.2/9000099/20040908/10027613"
    assert table.at["9001400-right-V03", "mri"] == "dicom/9001400-right-V03/11000001"


def test_what_is_left_out_and_why(whole) -> None:
    assert rows(whole.folder / "left-out.csv")[1:] == [
        [item.source, item.knee, item.subject, item.reason] for item in whole.left_out
    ]
    lacking, *others = [(item.source, item.knee, item.reason) for item in whole.left_out]
    assert lacking[:2] == ("results/00m/0.E.1/9000296/20040909/10693702", "9000296-left-V00")
    assert "1.500 to 3.000 mm apart, expected an even distance (1 missing" in lacking[2]
    assert others == [
        ("results/00m/0.C.2/9000622/20041011/10700001", "9000622-right-V00",
         "subject: the folder says 9000622, the header's PatientID 9000623"),
        ("results/00m/0.C.2/9000798/20041111/10700002", "9000798-left-V00",
         "side: the description SAG_3D_DESS_LEFT says left, the header right"),
        ("results/00m/0.E.1/9001104/20041201/10800003", "9001104-left-V00",
         f"{LATER} is a later series of the same knee and visit and is used"),
        ("results/00m/0.E.1/9001104/20041202/10800002", "9001104-right-V00",
         "8 slices, the header says 10 images in the acquisition; are files missing at an end?; "
         "results/00m/0.E.1/9001104/20041201/10800001, of the same knee and visit, is whole and is used"),
        ("results/24m/3.E.1/9001400/20061005/11000002.tar.gz", "9001400-left-V03",
         "11000002.tar.gz is truncated or damaged: Compressed file ended before the end-of-stream marker was "
         "reached; copy it again"),
    ]  # fmt: skip


def test_why_grades_are_missing_is_noted(whole) -> None:
    report = whole.report
    assert report["notes"] == [
        "2 series of other descriptions were passed over",
        "1 knees were read in several projects, 1 of them with different grades; 15, then 37, then 42 is "
        "taken",
        "9001104 right V00 has no grade: read as 3 and 4 in project 15 (kxr_sq_bu00.txt row 8, "
        "kxr_sq_bu00.txt row 9)",
        "1 knees have no grade: missing in the tables (.)",
        "1 knees have no grade: missing in the tables (.T, .A)",
        "2 knees have no grade: no row in the tables",
        "1 knees have no grade: read as 3 and 4 in project 15",
    ]
    assert report["counts"]["kl"] == {"0": 1, "1": 1, "2": 1, "3": 1, "unknown": 3}
    tables = {Path(name).name for name in report["options"]["grades"]}
    assert tables == {"KXR_SQ_BU01.txt", "kxr_sq_bu00.txt"}


@pytest.mark.parametrize(
    ("part", "knees"),
    [
        ("results/00m", 5),
        ("results/00m/0.E.1", 3),
        ("results/00m/0.C.2/9000099", 2),
        ("results/00m/0.C.2/9000099/20040908", 2),
        ("results/00m/0.C.2/9000099/20040908/10027612", 1),
    ],
)
def test_any_part_of_the_tree(source: Path, tmp_path: Path, part: str, knees: int) -> None:
    result = run(source / part, tmp_path / "dest", grades=source)
    assert len(result.manifest.table) == knees
    assert set(result.manifest.table["visit"]) == {"V00"}


def test_visits_and_sides(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "a", visits="12m,V03")
    assert result.manifest.table["knee"].tolist() == ["9000099-right-V01", "9001400-right-V03"]
    assert "5 series of visit V00 were passed over" not in result.report["notes"]
    assert any(note.endswith("series of visit V00 were passed over") for note in result.report["notes"])
    result = run(source, tmp_path / "b", sides="left", mirror_left=True, n4=True)
    assert result.manifest.table["knee"].tolist() == ["9000099-left-V00", "9001104-left-V00"]
    assert "mirror_left: true" in (tmp_path / "b/data.yaml").read_text()
    with pytest.raises(
        ValueError, match=r"visits: expected one of the visits V00 \(00m\).*got '13m', or all"
    ):
        run(source, tmp_path / "c", visits="13m")
    with pytest.raises(ValueError, match="sides: expected right, left or both, got 'medial'"):
        run(source, tmp_path / "c", sides="medial")


def test_a_tree_without_visits_needs_one(tmp_path: Path) -> None:
    write_dess(tmp_path / "mine/9000099/20040908/10027612", "right")
    with pytest.raises(ValueError, match="no folder tells the visit"):
        run(tmp_path / "mine", tmp_path / "dest")
    result = run(tmp_path / "mine", tmp_path / "dest", visits="V06")
    assert result.manifest.table["knee"].tolist() == ["9000099-right-V06"]


def test_volumes_are_upright_and_mirrored_where_the_knee_is(whole) -> None:
    """Femur above, and the medial side of left knees to the patient's right."""
    from miniature.oaizib_cm import knee_volume

    table = whole.manifest.table.set_index("knee")
    for knee, grade, seed in (("9000099-right-V00", 2, 1), ("9000099-left-V00", 1, 2)):
        image = read_image(whole.folder / str(table.at[knee, "mri"]))
        expected = knee_volume(grade, seed, (10, 24, 24))[0]
        np.testing.assert_array_equal(image.data, expected if "right" in knee else expected[::-1])
        np.testing.assert_allclose(image.grid.spacing, (1.5, 1.4, 1.4), rtol=1e-6)


def test_a_second_run_opens_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(source, tmp_path / "dest")
    opened: list[Path] = []
    header = tree._header
    monkeypatch.setattr(tree, "_header", lambda path: opened.append(path) or header(path))
    before = times(tmp_path / "dest")
    run(source, tmp_path / "dest")
    assert opened == []
    assert times(tmp_path / "dest") == before


def times(folder: Path) -> dict[Path, int]:
    """When files were changed, but those that every run opens for writing."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in files if path.name not in ("lock", "series.jsonl")}


def test_a_killed_look_goes_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    header = tree._header

    def dying(path: Path):
        if len(opened) == 9:
            raise KeyboardInterrupt
        opened.append(path)
        return header(path)

    monkeypatch.setattr(tree, "_header", dying)
    with pytest.raises(KeyboardInterrupt):
        find_folders(source, tmp_path, progress=False)
    store = tmp_path / ".import/series.jsonl"
    store.write_bytes(store.read_bytes()[:-10])  # the last line was being written
    first = list(opened)
    monkeypatch.setattr(tree, "_header", lambda path: opened.append(path) or header(path))
    found = find_folders(source, tmp_path, progress=False)
    again = {path.parent for path in opened[len(first) :]}
    assert not again & {path.parent for path in first[:8]}
    assert first[8].parent in again
    assert [one.path for one in find_folders(source, tmp_path, progress=False)] == [one.path for one in found]


def test_links_out_of_the_tree_are_not_followed(tmp_path: Path) -> None:
    write_dess(tmp_path / "real/00m/0.C.2/9000099/20040908/10027612", "right")
    write_dess(tmp_path / "other/00m/0.C.2/9000100/20040908/10027612", "right")
    (tmp_path / "real/00m/0.C.2/9000100").symlink_to(tmp_path / "other/00m/0.C.2/9000100")
    assert run(tmp_path / "real", tmp_path / "dest").manifest.table["subject"].tolist() == ["9000099"]


def test_sources_that_are_no_oai(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OSError, match="no such folder; expected a part of the OAI's tree"):
        run(tmp_path / "none", tmp_path / "dest")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected series with 'SAG_3D_DESS' in .*, found no DICOM"):
        run(tmp_path / "empty", tmp_path / "dest")
    with pytest.raises(ValueError, match=r"found SAG_3D_DESS_\w+ \(\d\), .*COR_IW_TSE_RIGHT \(1\)"):
        run(source / "results/00m/0.C.2/9000099", tmp_path / "dest", series="AX_T2")
    with pytest.raises(ValueError, match="series: expected a regular expression"):
        run(source, tmp_path / "dest", series="(")
    with pytest.raises(OSError, match=r"grades: cannot read .*none.txt: no such"):
        run(source, tmp_path / "dest", grades=tmp_path / "none.txt")
    with pytest.raises(ValueError, match="grades: expected tables named as"):
        run(source, tmp_path / "dest", grades=source / "results")


def test_archives_that_try_to_escape(tmp_path: Path) -> None:
    import io
    import tarfile

    def packed(name: str, **attributes: object) -> Path:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo(name)
            member.size = 4
            for key, value in attributes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(b"abcd"))
        return tmp_path / "a.tar.gz"

    unpack(packed("../../evil"), tmp_path / "in/1")
    assert [path.name for path in (tmp_path / "in").rglob("*")] == ["1", "evil"]
    with pytest.raises(ValueError, match="a link or too large"):
        unpack(packed("x", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0), tmp_path / "in/2")
    content = bytearray(gzip.decompress(pack_one(tmp_path).read_bytes()))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(bytes(content))[:-3])
    with pytest.raises(ValueError, match=r"b.tar.gz is truncated or damaged"):
        unpack(tmp_path / "b.tar.gz", tmp_path / "in/3")
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["1"]


def pack_one(folder: Path) -> Path:
    return pack(write_dess(folder / "9000099/20040908/10027612", "right"))


@quick(60)
@given(damage=st.one_of(SEEN, flipped()))
def test_damaged_archives_give_the_same_files_or_an_error(tmp_path: Path, damage: Damage) -> None:
    archive = tmp_path / "10027612.tar.gz"
    if not archive.exists():
        pack_one(tmp_path).rename(archive)
        unpack(archive, tmp_path / "whole")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(damage(archive.read_bytes()))
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    try:
        unpack(damaged, tmp_path / "out")
    except ValueError as error:
        assert "damaged.tar.gz is truncated or damaged" in str(error)  # noqa: PT017  (there may be no error)
        assert not (tmp_path / "out").exists()
    else:
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == whole


def test_damage_anywhere_is_left_out(source: Path, tmp_path: Path) -> None:
    """Truncated, emptied and overwritten first slices; the other knee is imported."""
    base = tmp_path / "00m/0.C.2/9000099/20040908"
    write_dess(base / "1", "left")
    for number, content in enumerate((b"", b"hello" * 200, None)):
        folder = write_dess(base / str(number + 2), "right")
        first = folder / "001"
        first.write_bytes(first.read_bytes()[:400] if content is None else content)
    result = run(tmp_path / "00m", tmp_path / "dest", sides="both")
    assert result.manifest.table["knee"].tolist() == ["9000099-left-V00"]
    assert len(result.left_out) == 3
    assert json.loads((tmp_path / "dest/import.json").read_text())["counts"]["left_out"] == 3
