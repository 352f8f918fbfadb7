from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from privileges import locked_folder
from scipy import ndimage

from oahier.audit import Audit, audit_manifest, check_manifest, facts_store
from oahier.data import ManifestError

Make = Callable[..., Any]


def found(audit: Audit, severity: str, kind: str) -> list[str]:
    return [str(p) for p in audit.problems if (p.severity, p.kind) == (severity, kind)]


def test_a_good_cohort_has_no_problems_and_is_counted(cohort: Make) -> None:
    audit = audit_manifest(cohort(30).write(), workers=2)
    assert audit.problems == ()
    assert audit.verdict == "no problems"
    counts = audit.tables["cohort"].set_index("split")
    assert counts.loc["all"].to_dict() == {
        "knees": 30, "subjects": 15, "visits": 1, "right": 15, "left": 15, "side unknown": 0,
        "with label map": 30,
    }  # fmt: skip
    grades = audit.tables["grades"].set_index("grade")
    assert grades.loc["KL 3", ["train", "val", "test", "all"]].tolist() == [2, 2, 2, 6]
    sex = audit.tables["sex"]
    assert sex[sex["split"] == "all"].set_index("sex")["all"].to_dict() == {"F": 16, "M": 14}
    assert sex[(sex["sex"] == "F") & (sex["split"] == "train")]["KL 2"].item() == 2
    geometry = audit.tables["geometry"]
    assert geometry[["voxels", "mm", "axes", "knees"]].values.tolist() == [
        ["24 x 24 x 28", "4 x 4 x 4", "RAS", 30]
    ]
    labels = audit.tables["labels"].set_index("tissue")
    assert labels.loc["femoral cartilage", "median"] == pytest.approx(14 * 12 * 2 * 64 / 1000)
    intensity = audit.tables["intensity"].set_index("measure")
    assert intensity.loc["mean", "median"] == pytest.approx(100 + 150 * 624 / 16128, abs=1)


def test_leakage(cohort: Make) -> None:
    knees = cohort(30)
    knees.rows[12]["subject"] = "s000"  # validation; s000 trains
    knees.rows[20]["subject"], knees.rows[21]["subject"] = "S0 01", "s01"  # test; s001 trains
    volume = knees.volume("004")
    knees.save("015", volume.astype(np.float64))  # another number type, hence another file
    knees.save("027", np.ascontiguousarray(volume[::-1]))
    audit = audit_manifest(knees.write())
    leaks = found(audit, "error", "leakage")
    assert len(leaks) == 3, leaks
    assert any("'s000' is in 2 splits: train (row 2), val (row 14)" in text for text in leaks)
    assert any("'s001', 'S0 01', 's01' in test and train differ only by" in text for text in leaks)
    same = next(text for text in leaks if "image" in text)
    assert "'004' (row 6), '015' (row 17), '027' (row 29) are one image and its mirror image" in same
    assert "in different splits and subjects and grades" in same


def test_one_image_twice_in_a_subject_is_a_warning(cohort: Make) -> None:
    knees = cohort(10)
    knees.save("003", knees.volume("002"))
    audit = audit_manifest(knees.write())
    assert [p.severity for p in audit.problems if p.kind == "duplicates"] == ["warning"]


def test_subjects(cohort: Make) -> None:
    knees = cohort(30)
    knees.rows[1]["side"] = "right"
    knees.rows[3]["sex"] = "F"
    audit = audit_manifest(knees.write())
    twice, changing = sorted(found(audit, "warning", "subjects"))
    assert "subject 's000' has 2 right knees at visit V00, in rows 2, 3" in twice
    assert "subject 's001' has sex 'M', 'F'" in changing
    (wrong,) = found(audit, "error", "sides")
    assert "the table says right, the label map shows a left knee" in wrong


def test_ids_that_lost_their_zeros(cohort: Make) -> None:
    knees = cohort(30)
    for number, row in enumerate(knees.rows):
        row["subject"] = f"{number // 2 + 95:05d}"
    knees.rows[28]["subject"] = knees.rows[29]["subject"] = "109"
    (lost,) = found(audit_manifest(knees.write(), files=False), "warning", "leakage")
    assert "'109' have fewer than the usual 5 digits" in lost


def test_label_maps(cohort: Make) -> None:
    knees = cohort(30)
    knees.save("000", labels=knees.labels("000")[:, :, ::-1].copy())  # upside down
    knees.save("002", labels=knees.labels("002")[::-1].copy())  # medial and lateral exchanged
    knees.save("004", labels=np.roll(knees.labels("004"), 12, axis=2))  # moved off the cartilage
    zeros = knees.volume("006") * (knees.labels("006") == 0)
    knees.save("006", zeros.astype(np.float32))
    knees.save("008", labels=knees.labels("008") * (knees.labels("008") != 5).astype(np.uint8))
    big = knees.labels("010")
    big[:, :, 15:24] = 2
    knees.save("010", labels=big)
    audit = audit_manifest(knees.write())
    by_knee: dict[str, str] = {}
    for problem in audit.problems:
        if problem.kind in ("label map", "sides"):
            by_knee[problem.knee or ""] = (
                by_knee.get(problem.knee or "", "") + f"{problem.severity} {problem}"
            )
    assert sorted(by_knee) == ["000", "002", "004", "006", "008", "010"]
    assert by_knee["000"].startswith("error")
    assert "upside down: femoral cartilage lies below" in by_knee["000"]
    assert "the table says right, the label map shows a left knee" in by_knee["002"]
    assert "cartilage at" in by_knee["004"]
    assert "upside down" in by_knee["004"], "rolled beyond the top, femoral cartilage is below"
    assert "100% of the cartilage lies on background" in by_knee["006"]
    assert by_knee["008"].startswith("note")
    assert "no lateral tibial cartilage" in by_knee["008"]
    assert "femoral cartilage of 3" in by_knee["010"]
    assert "femoral cartilage touches the edge" in by_knee["010"]


def test_a_side_that_was_mirrored_as_a_whole_is_one_warning(cohort: Make) -> None:
    knees = cohort(20)
    for row in knees.rows[1::2]:
        knees.save(row["knee"], *knees.knee(int(row["knee"]), "right"))
    audit = audit_manifest(knees.write())
    assert found(audit, "error", "sides") == []
    (whole,) = found(audit, "warning", "sides")
    assert "all 10 left knees show right ones" in whole


def test_geometry_and_intensities(cohort: Make) -> None:
    knees = cohort(30)
    wide = np.diag([8.0, 4.0, 4.0, 1.0])
    knees.save("000", *knees.knee(0, "right"), affine=wide)
    knees.save("002", *knees.knee(2, "right"), affine=np.diag([0.004, 0.004, 0.004, 1.0]))
    oblique = np.diag([4.0, 4.0, 4.0, 1.0])
    angle = np.radians(40)
    oblique[:2, :2] = 4 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    knees.save("004", *knees.knee(4, "right"), affine=oblique)
    volume, labels = knees.knee(6, "right")
    affine = np.diag([4.0, 4.0, 4.0, 1.0])[[1, 0, 2, 3]]
    knees.save("006", volume.transpose(1, 0, 2).copy(), labels.transpose(1, 0, 2).copy(), affine)
    knees.save("008", knees.volume("008") * 5)
    gap = knees.volume("010")
    gap[10], gap[14] = 0, gap[13]
    knees.save("010", gap)
    audit = audit_manifest(knees.write())
    texts: dict[str, str] = {}
    for problem in audit.problems:
        texts[problem.knee or ""] = texts.get(problem.knee or "", "") + str(problem)
    assert audit.of("error") == []
    assert "voxels 8 mm along right (median 4), field of view 192 mm" in texts["000"]
    assert "is the voxel size in millimetres?" in texts["002"]
    assert "turned by 40 degrees" in texts["004"]
    assert "1 of 30 volumes have axes ARS, most have RAS" in texts["006"]
    assert "intensities unlike the other knees: mean" in texts["008"]
    assert "constant slices between others (1 along right)" in texts["010"]
    assert "sagittal slices equal to their neighbour (1)" in texts["010"]


def test_a_second_scanner_is_not_a_heap_of_outliers(cohort: Make) -> None:
    knees = cohort(30)
    for row in knees.rows[:10]:
        knees.save(row["knee"], knees.volume(row["knee"]) * 5)
    audit = audit_manifest(knees.write())
    assert found(audit, "warning", "intensity") == []
    (note,) = found(audit, "note", "intensity")
    assert "10 of 30 volumes have intensities unlike those of the others" in note


def test_splits_that_lack_a_grade(cohort: Make) -> None:
    knees = cohort(30)
    for row in knees.rows:
        if row["split"] == "val":
            row["kl"] = min(int(row["kl"]), 2)
    (lack, other) = found(audit_manifest(knees.write(), files=False), "warning", "splits")
    assert "no knee of val has KL 3" in lack
    assert "no knee of val has KL 4" in other


def test_unchanged_files_are_not_read_again(cohort: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    knees = cohort(10)
    path = knees.write()
    first = audit_manifest(path)
    read: list[Path] = []
    monkeypatch.setattr(facts_store, "examine", lambda *files: read.append(files[0]) or examine(*files))
    from oahier.audit.facts import examine

    second = audit_manifest(path)
    assert read == []
    assert second.problems == first.problems
    assert second.knees["facts"].tolist() == first.knees["facts"].tolist()
    knees.save("003", knees.volume("003") + 1)
    (store,) = (second.store.folder).glob("facts.jsonl")
    lines = store.read_bytes().splitlines(keepends=True)
    (damaged,) = [number for number, line in enumerate(lines) if b"005.nii.gz" in line]
    lines[damaged] = lines[damaged][:300] + b"\n"
    store.write_bytes(b"".join(lines))
    audit_manifest(path)
    assert sorted(file.name for file in read) == ["003.nii.gz", "005.nii.gz"]


def test_a_cache_that_cannot_be_written(cohort: Make, tmp_path: Path) -> None:
    path = cohort(4).write()
    with locked_folder(tmp_path) as locked:
        with pytest.raises(PermissionError):
            (locked / "file").touch()
        assert audit_manifest(path, cache=locked).verdict == "no problems"
    assert list(locked.iterdir()) == []


def test_a_cache_folder_that_is_a_file(cohort: Make, tmp_path: Path) -> None:
    path = cohort(4).write()
    (tmp_path / "file").write_text("")
    audit = audit_manifest(path, cache=tmp_path / "file")
    assert audit.of("error") == []
    assert audit.store.picture(audit.files(0))[:2] == b"\xff\xd8", "pictures last as long as the audit"


def test_one_broken_knee_does_not_hide_the_others(cohort: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    knees = cohort(4)
    (knees.folder / "001.nii.gz").write_bytes(b"nothing")
    knees.save("002", labels=knees.labels("002") * 20)
    from oahier.audit import facts

    def fails(*files: Path) -> Any:
        if files[0].name == "003.nii.gz":
            raise RuntimeError("something unforeseen")
        return real(*files)

    real = facts.read_knee
    monkeypatch.setattr(facts, "read_knee", fails)
    audit = audit_manifest(knees.write())
    texts = {problem.knee: problem.message for problem in audit.of("error")}
    assert sorted(texts) == ["001", "002", "003"]
    assert texts["001"].startswith("001.nii.gz"), "paths are those of the manifest"
    assert "cannot be examined: RuntimeError: something unforeseen" in texts["003"]
    assert audit.knees["facts"].iloc[2]["shape"] == [24, 24, 28], "the volume itself is good"


def test_json_holds_everything(cohort: Make, tmp_path: Path) -> None:
    knees = cohort(10)
    knees.rows[0]["kl"] = ""
    audit = audit_manifest(knees.write())
    content = json.loads(audit.to_json(tmp_path / "audit.json").read_text())
    assert content["counts"]["error"] == 0
    assert len(content["knees"]) == 10
    assert content["knees"][0]["facts"]["axes"] == "RAS"
    assert content["tables"]["grades"][-1]["grade"] == "no grade"
    assert [p["message"] for p in content["problems"]] == [p.message for p in audit.problems]


def test_covariates(cohort: Make) -> None:
    knees = cohort(30)
    for number, row in enumerate(knees.rows):
        row["age"] = 45 + number // 2 * 1.5
    path = knees.write()
    ages = audit_manifest(path, files=False, covariates=["age"]).tables["age"]
    assert ages["age"].drop_duplicates().tolist() == [
        "45 to 49.88", "49.88 to 55.5", "55.5 to 61.12", "61.12 to 66"
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"expected columns of .*, got 'bmi'"):
        audit_manifest(path, covariates=["bmi"])


def test_tables_that_cannot_be_understood(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot read the manifest"):
        audit_manifest(tmp_path / "none.csv")
    bad = tmp_path / "bad.csv"
    bad.write_bytes("knee,subject,mri\nä,1,a.nii.gz\n".encode("latin-1"))
    audit = audit_manifest(bad)
    assert "UTF-8" in audit.problems[0].message
    assert (audit.verdict, dict(audit.tables)) == ("1 error", {})
    bad.write_text("knee,subject,mri,kl,kl\na,1,a.nii.gz,1,1\n")
    assert "stands 2 times" in audit_manifest(bad).problems[0].message
    assert check_manifest(bad)[0].severity == "error"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_random_state_is_left_alone(cohort: Make, workers: int) -> None:
    path, state = cohort(3).write(), torch.get_rng_state()
    audit_manifest(path, workers=workers)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_image_without_orientation_code(cohort: Make) -> None:
    knees = cohort(4)
    header = nib.Nifti1Image(knees.volume("002"), None)
    assert int(header.header["sform_code"]) == int(header.header["qform_code"]) == 0
    header.header.set_zooms((4.0, 4.0, 4.0))
    nib.save(header, knees.folder / "002.nii.gz")
    del knees.rows[2]["cartilage"]
    for row in knees.rows:
        row.setdefault("cartilage", "")
    found = [
        p for p in audit_manifest(knees.write()).problems if "does not say how the voxels lie" in p.message
    ]
    assert [(problem.knee, problem.severity) for problem in found] == [("002", "warning")]


def test_missing_covariates_are_one_unknown(cohort: Make) -> None:
    knees = cohort(10)
    for number, row in enumerate(knees.rows):
        row["site"] = ("A", ".", "NA", "")[number // 2 % 4]
    counts = audit_manifest(knees.write(), files=False, covariates=["site"]).tables["site"]
    assert counts[counts["split"] == "all"].set_index("site")["all"].to_dict() == {"A": 4, "unknown": 6}


@pytest.mark.parametrize(
    ("count", "moved", "told"), [(4, 4, True), (12, 2, True), (4, 0, False), (12, 0, False)]
)
def test_maps_that_do_not_lie_on_edges(cohort: Make, count: int, moved: int, told: bool) -> None:
    """One knee is enough to see a map far off; among others a smaller shift stands out."""
    knees = cohort(count)
    generator = np.random.default_rng(0)
    for row in knees.rows:  # other tissue all around, as in a knee
        tissue = ndimage.zoom(generator.normal(100, 60, (6, 6, 7)), 4, order=1)
        knees.save(row["knee"], (tissue + 60 * (knees.labels(row["knee"]) > 0)).astype(np.float32))
    knees.save("002", labels=np.roll(knees.labels("002"), moved, (0, 1, 2)))
    problems = audit_manifest(knees.write()).problems
    found = [problem for problem in problems if "do not lie on edges of the image" in problem.message]
    assert [(problem.knee, problem.severity) for problem in found] == [("002", "warning")] * told
