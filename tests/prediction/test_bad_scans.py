"""Scans that are no images, too large, or uncertain: left out or warned of, and the rest is predicted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from miniature.bright import blob, write_bright_checkpoint, write_nifti
from miniature.dicom import write_dicom_series

from oahier.cli import main
from oahier.data.preprocessing import Preprocessing
from oahier.prediction import predict_scans
from oahier.prediction.inputs import Scan, find_scans
from oahier.prediction.loading import UnusableScan, load_scan

SHAPE, AFFINE = (14, 16, 18), np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_nifti(tmp_path / "good.nii.gz", blob(SHAPE, AFFINE, (4, 5, 6), width=5), AFFINE)


def test_a_pipe_does_not_hang(good: Path, tmp_path: Path) -> None:
    checkpoint = write_bright_checkpoint(
        tmp_path / "model.ckpt", reference=None, shape=(12, 16, 16), spacing=(2.0, 2.0, 2.0)
    )
    os.mkfifo(tmp_path / "pipe.nii.gz")
    result = predict_scans(checkpoint, [tmp_path / "pipe.nii.gz", good], tmp_path / "out", pages=False)
    assert result.table["knee"].tolist() == ["good"]
    assert [(item.knee, item.reason) for item in result.left_out] == [
        ("pipe", "cannot be read: expected a regular file")
    ]


def test_a_volume_that_does_not_fit_into_memory(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("oahier.prediction.loading.preprocess", exhausted)
    with pytest.raises(UnusableScan, match="not enough memory for a volume of 12 x 16 x 16 voxels"):
        load_scan(Scan("good", str(good), good), Preprocessing((12, 16, 16), (2.0, 2.0, 2.0)))


def test_uncertain_axes_are_warned_of(good: Path) -> None:
    settings, scan = Preprocessing((12, 16, 16), (2.0, 2.0, 2.0)), Scan("good", str(good), good)
    assert not any("affine" in warning for warning in load_scan(scan, settings).warnings)
    image = nib.load(good)
    image.set_qform(AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0]), 1)
    image.set_sform(AFFINE, 1)
    other = good.with_name("other.nii.gz")
    nib.save(image, other)
    warnings = load_scan(replace(scan, path=other), settings).warnings
    assert any("the two affines of its header disagree" in warning for warning in warnings)


def test_a_manifest_without_a_needed_column(tmp_path: Path, good: Path) -> None:
    (tmp_path / "new.csv").write_text("knee,mri\na,good.nii.gz\n")
    _, left_out = find_scans([tmp_path / "new.csv"])
    assert "missing column 'subject'" in left_out[0].reason
    assert "None" not in left_out[0].reason


@pytest.mark.parametrize("content", [b"x\n", b"", b"PK\x03\x04" + bytes(50)])
def test_a_damaged_reference_is_not_used(
    good: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = write_bright_checkpoint(
        tmp_path / "model.ckpt", reference=None, shape=(12, 16, 16), spacing=(2.0, 2.0, 2.0)
    )
    (tmp_path / "model.reference.pt").write_bytes(content)
    result = predict_scans(checkpoint, [good], tmp_path / "out", pages=False, overlays=False)
    assert len(result.table) == 1
    assert result.without_reference
    assert "model.reference.pt is damaged and not used" in caplog.text
    assert "--reference" in caplog.text


@pytest.mark.parametrize("series", [None, "dess"])
def test_a_folder_of_damaged_dicom_files_is_left_out(tmp_path: Path, series: str | None) -> None:
    volume = np.zeros((10, 12, 6), np.int16)
    write_dicom_series(tmp_path / "export/a", volume, AFFINE)
    for file in write_dicom_series(tmp_path / "export/b", volume, AFFINE):
        file.write_bytes(file.read_bytes()[:-200])
    scans, left_out = find_scans([tmp_path / "export"], series=series)
    assert [scan.knee for scan in scans] == ["a"]
    assert [(item.source, item.knee, item.wanted) for item in left_out] == [
        (str(tmp_path / "export/b"), "b", True)
    ]
    assert left_out[0].reason.startswith("6 damaged DICOM files and no sound one in this folder, such as 001")


def test_long_names_and_checkpoints_among_the_scans(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is three times as long in a file's name, and names that begin alike."""
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", shape=(12, 16, 16), spacing=(2.0, 2.0, 2.0))
    named = [tmp_path / f"{'ж' * 70}{number}.nii.gz" for number in (1, 2)]
    for path in named:
        path.write_bytes(good.read_bytes())
    out = tmp_path / "out"
    options = ["--output", str(out), "--no-viewer", "--device", "cpu"]
    assert main(["predict", str(checkpoint), *map(str, named), str(checkpoint), str(good), *options]) == 1
    knees = pd.read_csv(out / "predictions.csv")["knee"].tolist()
    assert len(set(knees)) == 3
    assert max(len(knee.encode()) for knee in knees) <= 122
    assert len(list((out / "pages").iterdir())) == 3
    assert "model.ckpt: a checkpoint, not a scan: one model predicts at a time" in capsys.readouterr().out
    assert main(["predict", str(good), str(checkpoint), *options]) == 2
    assert "expected a checkpoint first and the scans after it" in capsys.readouterr().err
