"""What must not leave a hospital is in no file that an import writes, whatever is wrong with the tree."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.hospital import SAGITTAL, knee_volume

from oahier.intake.from_dicom import import_dicom

NAMES = ("Mustermann", "Erika", "Bahnhofstrasse", "Dr. Weiss", "4711-accession", "19531224")
IDS = ("MRN777", "MRN888", "00099912", "MRN555", "9.8.7.6.5")
DATES = ("20060101", "20071231", "20080101", "2006-01-01", "1/1/2006", "01.01.2006")


def write(folder: Path, patient: str, *, side: str | None = "R", seed: int = 0, **tags: object) -> list[Path]:
    person = {
        "PatientName": "Mustermann^Erika", "PatientBirthDate": "19531224",
        "AccessionNumber": "4711-accession", "PatientAddress": "Bahnhofstrasse 1",
        "ReferringPhysicianName": "Dr. Weiss",
        "StudyInstanceUID": f"9.8.7.6.5.{seed}", "SeriesInstanceUID": f"9.8.7.6.5.4.{seed}",
        "StudyDate": "20060101", "SeriesDescription": "PD", "Laterality": side,
        "PatientID": patient,
    }  # fmt: skip
    affine = SAGITTAL @ np.diag([1, 1, 1 if side != "L" else -1, 1])
    return write_dicom_series(folder, knee_volume(seed, 1), affine, **{**person, **tags})


def damage(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two sound knees, and one with each fault; folder names tell nothing, as they have to be written."""
    top = tmp_path / "export"
    write(top / "a", "MRN777", seed=1)
    write(top / "b", "MRN777", side="L", seed=2, StudyDate="20071231")
    write(top / "mixed", "MRN777", seed=3, PatientID=lambda k: "MRN777" if k < 5 else "MRN888")
    write(top / "studies", "MRN777", seed=4, StudyInstanceUID=lambda k: f"9.8.7.6.5.{k}")
    write(top / "gap", "MRN777", seed=5)[5].unlink()
    files = write(top / "flipped", "MRN777", seed=6)
    damage(files[2], b" \0\x13\0IS\x02\x003 ", b" \0\x13\0IS\x10\0Mustermann^Erika")
    files = write(top / "cut", "MRN777", seed=7)
    files[3].write_bytes(files[3].read_bytes()[:700])
    write(top / "other", "MRN555", seed=8)  # in no table
    write(top / "side", "MRN888", seed=9)  # the table says left
    write(top / "rows", "00099912", seed=10)  # rows that differ; zeros that were lost
    write(top / "twice", "MRN777", seed=11, StudyDate="20071231")
    write(top / "again", "MRN777", seed=12, StudyDate="20071231")  # the same knee and visit
    write(top / "undated", "MRN777", seed=13, StudyDate="")
    write(top / "together", "MRN777", side=None, seed=14, StudyDate="20080101")
    write(top / "together", "MRN777", side=None, seed=15, SeriesDescription="scout", names="x{:03d}")
    for number, file in enumerate(write(top / "spread/1", "MRN777", side="L", seed=16)):
        if number > 5:
            (top / "spread/2").mkdir(exist_ok=True)
            file.rename(top / "spread/2" / file.name)
    return top


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [
        "MRN,Code,Datum,Seite,KL,Name", "MRN777,S1,,,2,Erika Mustermann", "MRN888,S2,,left,1,Erika",
        "99912,S3,2006-01-01,,1,Erika", "99912,S3,01.01.2006,,3,Erika", "MRN777,S1,1/1/2006,,2,Erika",
        "MRN777,S1,Erika Mustermann,,2,Erika",
    ]  # fmt: skip
    (tmp_path / "grades.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "grades.csv"


def written(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        name: name.encode() + (gzip.decompress(content) if name.endswith(".gz") else content)
        for name, content in files.items()
    }


def leaks(folder: Path) -> list[str]:
    return [
        f"{secret} stands in {name}"
        for name, content in written(folder).items()
        for secret in (*NAMES, *IDS, *DATES)
        if secret.encode() in content or secret.encode("utf-16-le") in content
    ]


def test_codes_and_numbers_hide_ids_and_dates(export: Path, labels: Path, tmp_path: Path) -> None:
    options = {
        "series": "PD", "labels": labels, "columns": "patient=MRN,subject=Code,date=Datum,side=Seite,kl=KL",
        "visits": "number", "convert": True, "progress": False,
    }  # fmt: skip
    for _ in range(2):  # the second time from what is remembered
        result = import_dicom(export, tmp_path / "dest", **options)
        assert leaks(tmp_path / "dest") == []
    assert {"series.csv", "left-out.csv", ".import/series.jsonl"} <= set(written(tmp_path / "dest"))
    names = ["S1-3", "S1-left-1", "S1-left-2", "S1-right", "S1-right-1"]
    assert sorted(result.manifest.table["knee"]) == names
    reasons = {item.source: item.reason for item in result.left_out}
    assert set(reasons) == {
        "mixed", "studies", "gap", "flipped", "cut", "other", "side", "rows", "twice", "again",
        "grades.csv row 6", "grades.csv row 7",
    }  # fmt: skip
    assert reasons["mixed"].startswith("slices of 2 different patients")
    assert reasons["studies"].startswith("slices of 12 different studies")
    assert {item.knee for item in result.left_out if item.source in ("gap", "cut")} == {"S1-right-1"}


def test_what_is_remembered_tells_nobody(export: Path, tmp_path: Path) -> None:
    """Not even where ids and dates are written in the manifest."""
    import_dicom(export, tmp_path / "dest", series="PD", progress=False)
    content = (tmp_path / "dest/.import/series.jsonl").read_text()
    assert len(content.splitlines()) == 1 + 16 + 1  # heading, folders, and the series over two of them
    assert content.splitlines()[1].startswith('"a"\t{"path": "a", ')
    for secret in (*NAMES, *IDS, *DATES):
        assert secret not in content, f"{secret} is remembered"
