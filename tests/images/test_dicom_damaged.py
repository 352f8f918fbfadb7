"""Folders without a sound DICOM file, and pixels that cannot be unpacked, are told of with what to do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from miniature.dicom import write_dicom_series
from pydicom.encaps import encapsulate

from oahier.images import UnreadableImage, read_image
from oahier.images.dicom import find_series, header_side

VOLUME = np.arange(10 * 12 * 6, dtype=np.int16).reshape(10, 12, 6)
SPACING = np.diag([0.5, 0.5, 3.0, 1.0])


def cut(files: list[Path], count: int = 200) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:-count])


def test_a_folder_of_damaged_files_is_a_series_without_slices(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "good", VOLUME, SPACING)
    files = write_dicom_series(tmp_path / "cut", VOLUME, SPACING, SeriesDescription="Mustermann")
    cut(files)
    files[2].write_bytes(b"")  # no mark, but named as its neighbours
    (tmp_path / "cut/notes.txt").write_text("hello" * 100)
    broken, good = find_series(tmp_path)
    assert (good.problems, len(good.places)) == ((), 6)
    assert (broken.folder, broken.files, broken.places) == (tmp_path / "cut", tuple(files), ())
    assert (broken.uid, broken.description, broken.laterality) == ("", "", "")
    assert broken.problems == (
        "6 damaged DICOM files and no sound one in this folder, such as 001: 52 bytes behind the header, "
        "expected 252 or more of pixels; copy or export them again",
    )
    assert header_side(tmp_path / "cut") == ""
    with pytest.raises(UnreadableImage, match=r"cut: series .* is no volume: 6 damaged DICOM files"):
        read_image(tmp_path / "cut")


def test_one_truncated_file_of_many_frames(tmp_path: Path) -> None:
    (file, *others) = write_dicom_series(tmp_path, VOLUME, SPACING)
    for other in others:
        other.unlink()
    data = pydicom.dcmread(file)
    data.NumberOfFrames, data.PixelData = 6, data.PixelData * 6
    data.save_as(file)
    assert len(find_series(tmp_path)[0].places) == 6
    cut([file])
    (broken,) = find_series(tmp_path)
    assert (broken.files, broken.places) == ((file,), ())
    assert broken.problems[0].startswith("1 damaged DICOM files and no sound one in this folder, such as 001")


def test_other_files_are_no_damaged_ones(tmp_path: Path) -> None:
    (file, *others) = write_dicom_series(tmp_path, VOLUME, SPACING)
    directory = pydicom.dcmread(file)
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    for name in ("PixelData", "Rows", "Columns", "SOPClassUID"):
        delattr(directory, name)
    for path in (file, *others):
        path.unlink()
    directory.save_as(tmp_path / "directory.001", enforce_file_format=False)
    (tmp_path / "notes.txt").write_text("hello" * 100)
    (tmp_path / "numbers.bin").write_bytes(np.arange(8, 300, dtype="<i4").tobytes())  # starts as group 8
    (tmp_path / "zeros").write_bytes(b"\x08\0\0\0" + bytes(200))
    (tmp_path / "empty").write_bytes(b"")
    assert find_series(tmp_path) == []


def compress(files: list[Path], syntax: str) -> None:
    for file in files:
        data = pydicom.dcmread(file)
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = encapsulate([b"\xff\xd8" + b"junk" * 20])
        data["PixelData"].is_undefined_length, data["PixelData"].VR = True, "OB"
        data.save_as(file, enforce_file_format=False, implicit_vr=False, little_endian=True)


def refusal(folder: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_image(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.3.4.5", "1.2.3.4.5"),
        (
            "1.2.840.10008.1.2.4.201",
            "High-Throughput JPEG 2000 Image Compression (Lossless Only) (1.2.840.10008.1.2.4.201)",
        ),
    ],
)
def test_a_transfer_syntax_that_cannot_be_unpacked(tmp_path: Path, syntax: str, name: str) -> None:
    compress(write_dicom_series(tmp_path, VOLUME, SPACING), syntax)
    assert refusal(tmp_path) == (
        f"{tmp_path / '001'}: expected pixels that are plain or JPEG, got the transfer syntax {name}, which "
        "cannot be unpacked; export it uncompressed"
    )


def test_damaged_jpeg_reads_the_same_in_every_run(tmp_path: Path) -> None:
    compress(write_dicom_series(tmp_path, VOLUME, SPACING), "1.2.840.10008.1.2.4.50")
    said = refusal(tmp_path)
    assert said == refusal(tmp_path)
    assert not re.search("0x[0-9a-f]", said)
    assert "001: its pixels, compressed as JPEG Baseline (Process 1) (1.2.840.10008.1.2.4.50), cannot" in said
    assert said.endswith("copy it again from its source, or export it uncompressed")
