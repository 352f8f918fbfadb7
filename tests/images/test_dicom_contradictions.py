"""A header that tells two sides is left out with that reason, in reading, import and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series

from oahier.images import UnreadableImage, read_image
from oahier.images.dicom import find_series, header_side
from oahier.intake.from_dicom import import_dicom
from oahier.prediction.inputs import find_scans

VOLUME = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
TWO_SIDES = "its header says two sides: right (Laterality), left (SeriesDescription)"


def write(folder: Path, **tags: object) -> Path:
    options = {"SeriesDescription": "dess", "StudyDescription": "knee"} | tags
    write_dicom_series(folder, VOLUME, np.diag([0.5, 0.5, 3.0, 1.0]), **options)
    return folder


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ({"Laterality": "R", "SeriesDescription": "dess LEFT"}, TWO_SIDES),
        (
            {"Laterality": "R", "ImageLaterality": "L"},
            "its header says two sides: right (Laterality), left (ImageLaterality)",
        ),
        (
            {"Laterality": "L", "ProtocolName": "Knee_Right"},
            "its header says two sides: left (Laterality), right (ProtocolName)",
        ),
        (
            {"SeriesDescription": "left", "ProtocolName": "left", "BodyPartExamined": "RIGHT"},
            "its header says two sides: left (SeriesDescription, ProtocolName), right (BodyPartExamined)",
        ),
    ],
)
def test_two_sides_are_a_fault(tmp_path: Path, tags: dict[str, str], fault: str) -> None:
    (series,) = find_series(write(tmp_path, **tags))
    assert (series.problems, series.laterality, header_side(tmp_path)) == ((fault,), "", "")
    with pytest.raises(UnreadableImage, match="its header says two sides"):
        read_image(tmp_path)


@pytest.mark.parametrize("words", ["left and right", "BRIGHT", "dess right", ""])
def test_words_that_tell_both_or_no_side_are_none(tmp_path: Path, words: str) -> None:
    (series,) = find_series(write(tmp_path, Laterality="R", SeriesDescription=words))
    assert (series.problems, series.laterality) == ((), "right")


def test_a_study_may_hold_both_knees(tmp_path: Path) -> None:
    """The name of a study decides only where nothing nearer to the series does."""
    (series,) = find_series(write(tmp_path / "a", Laterality="L", StudyDescription="MRI right knee"))
    assert (series.problems, series.laterality) == ((), "left")
    (series,) = find_series(write(tmp_path / "b", StudyDescription="MRI right knee"))
    assert (series.problems, series.laterality) == ((), "right")


def test_import_and_prediction_leave_them_out(tmp_path: Path) -> None:
    source = tmp_path / "export"
    write(source / "good", PatientID="A", Laterality="R")
    write(source / "two", PatientID="B", Laterality="R", SeriesDescription="dess LEFT")
    result = import_dicom(source, tmp_path / "dest", series="dess", mirror_left=True, progress=False)
    assert result.manifest.table["subject"].tolist() == ["A"]
    assert [(item.source, item.subject, item.reason) for item in result.left_out] == [("two", "B", TWO_SIDES)]
    scans, left_out = find_scans([source])
    assert [scan.knee for scan in scans] == ["good"]
    assert [(item.knee, item.reason, item.wanted) for item in left_out] == [("two", TWO_SIDES, True)]
