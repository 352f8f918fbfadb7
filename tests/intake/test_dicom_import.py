from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.oai import sagittal
from miniature.oaizib_cm import knee_volume

from oahier.images import read_image
from oahier.intake.from_dicom import import_dicom

SECRETS = ("Mustermann", "Erika", "19531224", "Bahnhofstrasse", "4711-accession", "Dr. Weiss")


def write(folder: Path, patient: str, *, side: str | None = "R", seed: int = 0, **tags: object) -> Path:
    """A sagittal series with everything in its header that must not come out."""
    volume, affine = sagittal(knee_volume(2, seed, (8, 20, 20))[0])
    options = {
        "PatientID": patient, "SeriesDescription": "PD_sag_FS", "StudyDate": "20240105", "Laterality": side,
        "PatientName": "Mustermann^Erika", "PatientBirthDate": "19531224",
        "AccessionNumber": "4711-accession", "PatientAddress": "Bahnhofstrasse 1",
        "ReferringPhysicianName": "Dr. Weiss",
    }  # fmt: skip
    write_dicom_series(folder, volume, affine, **{**options, **tags})
    return folder


def run(source: Path, destination: Path, **options):
    return import_dicom(source, destination, progress=False, **options)


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def knees(result) -> dict[str, object]:
    return {str(row["knee"]): row for row in result.manifest.table.to_dict("records")}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two patients with both knees, one of them twice; localizers; a file that is no DICOM."""
    top = tmp_path / "export"
    for number, side in enumerate("RL"):
        write(top / f"A/1/{side}", "0017", side=side, seed=number)
        write(top / f"B/1/{side}", "0018", side=side, seed=number + 2)
        write(top / f"B/2/{side}", "0018", side=side, seed=number + 4, StudyDate="20250203")
    write(top / "A/1/scout", "0017", side=None, SeriesDescription="localizer")
    (top / "A/1/report.pdf").write_bytes(b"%PDF-1.4")
    return top


def test_without_a_choice_the_descriptions_are_listed(export: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"choose the series of the knees \(--series REGEX\)") as caught:
        run(export, tmp_path / "dest")
    assert str(caught.value).endswith(
        "there are\n      6 x PD_sag_FS  (2 patients)\n      1 x localizer  (1 patients)"
    )
    with (tmp_path / "dest/series.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 7
    assert found[0] == {
        "folder": "A/1/L", "subject": "0017", "study_date": "20240105", "description": "PD_sag_FS",
        "protocol": "", "part": "", "modality": "MR", "side": "left", "slices": "8", "used": "yes",
        "problems": "",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"no series matches 'T2'(?s:.)*6 x PD_sag_FS"):
        run(export, tmp_path / "dest", series="T2")


def test_grades_by_patient_side_and_date(export: Path, tmp_path: Path) -> None:
    labels = table(
        tmp_path / "grades.csv", "MRN,side,day,KL,age", "17,R,,1,60", "17,L,,NA,60", "18,R,2024-01-05,2,70",
        "18,R,03.02.2025,3,71", "18,L,,4,70", "99,R,,4,80",
    )  # fmt: skip
    result = run(
        export, tmp_path / "dest", series="^pd_", labels=labels, columns="patient=MRN,date=day,kl=KL",
        covariates="age",
    )  # fmt: skip
    found = {name: (row["kl"], row["age"]) for name, row in knees(result).items()}
    assert found == {
        "0017-right-20240105": (1, 60), "0017-left-20240105": (-1, 60), "0018-right-20240105": (2, 70),
        "0018-right-20250203": (3, 71), "0018-left-20240105": (4, 70), "0018-left-20250203": (4, 70),
    }  # fmt: skip
    assert [(item.source, item.subject, item.reason) for item in result.left_out] == [
        ("grades.csv row 7", "99", "no series of this knee was found")
    ]
    assert result.report["notes"] == [
        "2 patients of grades.csv had lost leading zeros, which were put back",
        "1 rows of grades.csv have no date and were used for several examinations; give it a column with the "
        "date (--columns date=...) unless the grade holds for all of them",
    ]  # fmt: skip


def test_nothing_that_identifies_is_written(export: Path, tmp_path: Path) -> None:
    """Of the header's personal elements none comes out, in no file and no encoding, whatever is written."""
    write(export / "A/1/R", "0017", SeriesDescription="PD_other", names="x{:03d}")  # shares its folder
    broken = write(export / "C", "0019")
    (broken / "004").unlink()
    labels = table(
        tmp_path / "grades.csv", "patient,name,kl", "0017,Erika Mustermann,2", "0018,Max Mustermann,x"
    )
    run(export, tmp_path / "dest", series="PD_sag", labels=labels, convert=True)
    files = [path for path in (tmp_path / "dest").rglob("*") if path.is_file()]
    assert len(files) > 12
    for path in files:
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        for secret in SECRETS:
            assert secret.encode() not in content, f"{secret} stands in {path.name}"
            assert secret.encode("utf-16-le") not in content


def test_another_name_for_patients(export: Path, tmp_path: Path) -> None:
    labels = table(tmp_path / "codes.csv", "MRN,code,KL", "0018,S1,3")
    columns = "patient=MRN,subject=code,kl=KL"
    result = run(
        export, tmp_path / "dest", series="PD", labels=labels, columns=columns, visits="number", convert=True
    )
    assert sorted(knees(result)) == ["S1-left-1", "S1-left-2", "S1-right-1", "S1-right-2"]
    assert [(item.knee, item.subject, item.reason) for item in result.left_out] == [
        ("", "", "codes.csv has no other name for this patient")
    ] * 2
    texts = [path for path in (tmp_path / "dest").rglob("*") if path.suffix in (".csv", ".json", ".yaml")]
    texts.append(tmp_path / "dest/.import/knees.jsonl")
    assert len(texts) == 6
    for path in texts:
        assert "0018" not in path.read_text(), f"the PatientID stands in {path.name}"
        assert "20250203" not in path.read_text(), f"a date stands in {path.name}"


def test_visits_are_numbered_by_all_dates_of_a_person(export: Path, tmp_path: Path) -> None:
    """One that is left out keeps its number; a knee without a date has no visit."""
    write(export / "B/3/L", "0018", side="L", seed=9, StudyDate="")
    codes = table(tmp_path / "codes.csv", "MRN,code", "17,S1", "18,S2")
    options = {"series": "PD", "labels": codes, "columns": "patient=MRN,subject=code", "visits": "number"}
    result = run(export, tmp_path / "dest", **options)
    names = ["S1-left-1", "S1-right-1", "S2-left", "S2-left-1", "S2-left-2", "S2-right-1", "S2-right-2"]
    assert sorted(knees(result)) == names
    assert knees(result)["S2-left"]["visit"] == ""
    assert "1 knees have no date of study and an empty visit" in result.report["notes"]
    for side in "LR":  # of the first visit nothing is left
        (export / f"B/1/{side}/004").unlink()
    result = run(export, tmp_path / "dest", **options)
    assert sorted(knees(result)) == [name for name in names if name not in ("S2-left-1", "S2-right-1")]
    assert sorted(item.knee for item in result.left_out) == ["S2-left-1", "S2-right-1"]


def test_a_series_beside_a_part_of_another_is_written(tmp_path: Path) -> None:
    top = tmp_path / "export"
    write(top / "a", "A")
    write(top / "b", "A", side="L", SeriesDescription="PD_other")
    (top / "b/005").rename(top / "a/other005")
    result = run(top, tmp_path / "dest", visits="none", series="PD")
    places = {name: row["mri"] for name, row in knees(result).items()}
    assert places == {"A-left": "images/A-left.nii.gz", "A-right": "images/A-right.nii.gz"}


def test_sides(tmp_path: Path) -> None:
    top = tmp_path / "export"
    write(top / "A", "A", side="R", seed=1)  # the table says left
    write(top / "B", "B", side=None, seed=2)  # the table says left
    write(top / "C", "C", side=None, seed=3, SeriesDescription="PD_sag_FS rechts RIGHT")
    write(top / "D", "D", side=None, seed=4)  # nobody says
    write(top / "E", "E", side="L", seed=5)  # only its other knee was graded, which is there too
    write(top / "F", "E", side="R", seed=6)
    labels = table(tmp_path / "l.csv", "patient,side,kl", "A,left,1", "B,left,2", "C,,3", "D,,4", "E,right,1")
    result = run(top, tmp_path / "dest", series="PD", labels=labels, visits="none")
    assert {name: (row["side"], row["kl"]) for name, row in knees(result).items()} == {
        "B-left": ("left", 2), "C-right": ("right", 3), "D": ("", 4), "E-left": ("left", -1),
        "E-right": ("right", 1),
    }  # fmt: skip
    assert [(item.source, item.knee, item.reason) for item in result.left_out] == [
        ("A", "A-right", "side: row 2 of l.csv says left, the image's header says right")
    ]


def test_rows_that_cannot_be_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "export/A", "A", side=None)
    write(tmp_path / "export/B", "B")
    labels = table(tmp_path / "l.csv", "patient,side,kl", "A,right,1", "A,left,3", "B,right,2", "B,right,2")
    result = run(tmp_path / "export", tmp_path / "dest", labels=labels)
    assert list(knees(result)) == ["B-right-20240105"]  # rows that agree are one
    assert result.left_out[0].reason == (
        "rows 2, 3 of l.csv fit this series and differ; give the table columns for side and date (--columns "
        "side=...,date=...)"
    )


def test_series_in_one_folder_and_over_several(tmp_path: Path) -> None:
    """They are written as NIfTI; everything else stays where it is."""
    top = tmp_path / "export"
    volume, affine = sagittal(knee_volume(1, 1, (8, 20, 20))[0])
    for name, extra in (("PD", 0), ("T1", 7)):
        write_dicom_series(top / "all", volume + extra, affine, PatientID="A", Laterality="R",
                           SeriesDescription=name, names=f"{name}{{:03d}}")  # fmt: skip
    write(top / "two", "B")
    (top / "two/more").mkdir()
    for number in (5, 6, 7, 8):
        (top / f"two/{number:03d}").rename(top / f"two/more/{number:03d}")
    write(top / "alone", "C")
    result = run(top, tmp_path / "dest", series="PD", visits="none")
    places = {name: row["mri"] for name, row in knees(result).items()}
    assert places == {
        "A-right": "images/A-right.nii.gz", "B-right": "images/B-right.nii.gz", "C-right": "../export/alone",
    }  # fmt: skip
    expected = knee_volume(1, 1, (8, 20, 20))[0]
    np.testing.assert_array_equal(read_image(tmp_path / "dest/images/A-right.nii.gz").data, expected)
    assert read_image(tmp_path / "dest/images/B-right.nii.gz").data.shape == (8, 20, 20)


def test_anonymised_headers(tmp_path: Path) -> None:
    """No PatientID, and dates that were overwritten."""
    for name in ("x1", "x2"):
        write(tmp_path / f"export/{name}/s", "", StudyDate="00010101")
    with pytest.raises(ValueError, match=r"no PatientID in its header, and .*--patients folder"):
        run(tmp_path / "export", tmp_path / "dest")
    labels = table(tmp_path / "l.csv", "patient,kl", "x1,1", "x2,2")
    result = run(tmp_path / "export", tmp_path / "dest", patients="folder", labels=labels)
    assert {name: row["kl"] for name, row in knees(result).items()} == {"x1-right": 1, "x2-right": 2}
    for folder in ("a", "b"):
        write(tmp_path / f"same/{folder}", "ANONYMOUS", seed=ord(folder))
    with pytest.raises(ValueError, match="2 images would be the knee 'ANONYMOUS-right-20240105'"):
        run(tmp_path / "same", tmp_path / "other")


def test_broken_series_keep_their_reasons(export: Path, tmp_path: Path) -> None:
    (export / "A/1/R/004").unlink()
    first = export / "B/1/L/003"
    first.write_bytes(first.read_bytes()[:700])
    result = run(export, tmp_path / "dest", series="PD")
    reasons = {item.knee: item.reason for item in result.left_out}
    assert set(reasons) == {"0017-right-20240105", "0018-left-20240105"}
    assert "1 missing" in reasons["0017-right-20240105"]
    assert "003 is a damaged DICOM file" in reasons["0018-left-20240105"]
    assert len(result.manifest.table) == 4


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["who,kl", "A,1"], {}, "expected a column with the patient as DICOM headers write it"),
        (["patient,kl", "A,KL2"], {}, "none of 1 grades can be read"),
        (["patient,grade", "A,1"], {"columns": "kl=KL"}, "expected one column 'KL'"),
        (["patient,day,kl", "A,1/2/2024,1"], {"columns": "date=day"}, "none of 2 could be imported|expected"),
    ],
)
def test_tables_that_cannot_be_used(
    tmp_path: Path, lines: list[str], options: dict[str, str], message: str
) -> None:
    write(tmp_path / "export/A", "A")
    labels = table(tmp_path / "l.csv", *lines)
    if "1/2/2024" in lines[1]:
        result = run(tmp_path / "export", tmp_path / "dest", labels=labels, **options)
        assert result.left_out[0].reason == (
            "date: expected 2004-09-23, 20040923 or 23.09.2004, got a cell of the form '0/0/0000'"
        )
    else:
        with pytest.raises(ValueError, match=message):
            run(tmp_path / "export", tmp_path / "dest", labels=labels, **options)


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such folder; expected a tree of DICOM files"):
        run(tmp_path / "none", tmp_path / "dest")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected DICOM images, found none in it"):
        run(tmp_path / "empty", tmp_path / "dest")
    with pytest.raises(ValueError, match="series: expected a regular expression"):
        run(tmp_path / "empty", tmp_path / "dest", series="[")


def test_real_anonymised_series(shared_data: Path, tmp_path: Path) -> None:
    """A multi-echo knee without patient, description and date: femur above, patella in front."""
    source = shared_data / "mese-volunteer" / "dicom-te12"
    result = run(source, tmp_path / "dest", patients="folder", convert=True)
    assert result.manifest.table["knee"].tolist() == ["dicom-te12"]
    image = read_image(tmp_path / "dest/images/dicom-te12.nii.gz")
    np.testing.assert_allclose(image.grid.spacing, (4, 0.625, 0.625), atol=1e-3)
    np.testing.assert_array_equal(image.data, read_image(source).data)
