"""Target columns: classes, further readings, measurements; and ids that only look alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from oahier.audit import check_manifest
from oahier.data import KneeMRIDataModule, Manifest, ManifestError, read_manifest
from oahier.data.manifest.subject_ids import similar_subjects
from oahier.types import MISSING


@pytest.mark.parametrize(
    "cell",
    ["0_1", "\u0662", "\uff12", "2.0000000000000001", "2.5", "1e0", "0x1", "+2", "-1", "inf", "KL2", "2,0"],
)
def test_what_is_no_grade(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    path = tmp_path / "manifest.csv"
    path.write_text(f"knee\tsubject\tmri\tkl\na\t1\ta.nii.gz\t{cell}\n", encoding="utf-8")
    with pytest.raises(
        ManifestError, match="row 2, knee 'a', column 'kl': expected a whole number 0-4"
    ) as caught:
        read_manifest(path)
    assert repr(cell) in str(caught.value)


@pytest.mark.parametrize("cell", ["2", "2.", "2.0", " 2.00 ", "02"])
def test_what_is_a_grade(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text(f"knee,subject,mri,kl\na,1,a.nii.gz,{cell}\n")
    assert read_manifest(tmp_path).table["kl"].tolist() == [2]


def test_measurements_and_further_readings_reach_the_batch(
    make: Callable[..., KneeMRIDataModule], knees: Path
) -> None:
    table = read_manifest(knees).table.assign(
        jsw=[f"{3.25 + number / 8}" if number % 4 else "" for number in range(20)],
        kl_2=[str(number % 3) if number != 1 else "NA" for number in range(20)],
    )
    manifest = Manifest.from_table(table, knees.parent)
    data = make(manifest, targets=["kl", "jsw", "kl_2"], augmentation=None)
    batch = next(iter(data.predict_dataloader()))["targets"]
    assert {name: values.dtype for name, values in batch.items()} == {
        "kl": torch.int64, "jsw": torch.float32, "kl_2": torch.int64,
    }  # fmt: skip
    np.testing.assert_array_equal(batch["jsw"], np.float32([np.nan, 3.375, 3.5]))
    assert batch["kl_2"].tolist() == [0, MISSING, 2]
    assert data.target_names == ("kl", "jsw", "kl_2")
    training = manifest.with_splits().table["split"] == "train"
    assert set(data.class_counts) == {"kl", "kl_2"}
    assert data.class_counts["kl_2"] == [
        int((training & (table["kl_2"] == str(grade))).sum()) for grade in range(5)
    ]
    unknown = Manifest.from_table(table.assign(jsw=["" if n else "1.5" for n in range(20)]), knees.parent)
    assert make(unknown, targets=["kl", "jsw"]).target_names == ("kl", "jsw")


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("kl_2", "5", "row 3, knee '001', column 'kl_2': expected a whole number 0-4"),
        ("kl_2", "1.5", "row 3, knee '001', column 'kl_2': expected a whole number 0-4"),
        ("jsw", "inf", "row 3, knee '001', column 'jsw': expected a finite number"),
        ("jsw", "wide", "column 'jsw': expected a whole number from 0 on"),
    ],
)
def test_cells_that_are_no_target(knees: Path, name: str, cell: str, message: str) -> None:
    cells = ["0.5" if name == "jsw" else "0"] * 20
    cells[1] = cell
    manifest = Manifest.from_table(read_manifest(knees).table.assign(**{name: cells}), knees.parent)
    with pytest.raises(ManifestError, match=message):
        manifest.labels(name)


def test_unknown_targets_name_the_columns_of_the_manifest(
    make: Callable[..., KneeMRIDataModule], knees: Path
) -> None:
    table = read_manifest(knees).table.assign(jsw=4.5, site="Graz")
    with pytest.raises(ManifestError, match=r"missing target column 'jws'; expected one of oa, kl, jsw$"):
        make(Manifest.from_table(table, knees.parent), stage=None, targets=["jws"])


@pytest.mark.parametrize(
    ("one", "other"), [("A1", "a1"), ("M\u00fc1", "Mu\u03081"), ("\uff11", "1"), ("07", "7")]
)
def test_subjects_that_differ_in_writing_only(knees: Path, one: str, other: str) -> None:
    table = read_manifest(knees).table
    ids = [one, other, *table["subject"].iloc[2:]]
    (problem,) = similar_subjects(table.assign(subject=ids, split=["train", "test"] + ["train"] * 18))
    assert problem.severity == "error"
    manifest = Manifest.from_table(table.assign(subject=ids), knees.parent)
    with pytest.raises(ManifestError, match="differ only by leading zeros, case, spaces or Unicode form"):
        manifest.with_splits()


@pytest.mark.parametrize(("one", "other"), [("A1", "a1"), ("M\u00fc1", "Mu\u03081")])
def test_knees_whose_files_are_one_on_some_disks(
    some_knees: Callable[..., Path], one: str, other: str
) -> None:
    path = some_knees(4)
    lines = path.read_text().splitlines()
    lines[1:3] = [
        f"{name},{line.split(',', 1)[1]}" for name, line in zip((one, other), lines[1:3], strict=True)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    (problem,) = [found for found in check_manifest(path) if "Unicode form" in found.message]
    assert (problem.severity, problem.row, problem.column) == ("warning", 3, "knee")
