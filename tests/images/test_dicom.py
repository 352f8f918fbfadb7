from __future__ import annotations

import locale
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from miniature.dicom import write_dicom_series
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from oahier.images import UnreadableImage, read_grid, read_image
from oahier.images.dicom import (
    Series,
    find_series,
    header_side,
    read_series,
    series_faults,
    series_of,
)

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.15) @ np.array([[0, 0, 2.0], [-1.5, 0, 0], [0, -0.8, 0]]),
    [-31, 17, 5],
)
FLIPPED = OBLIQUE @ np.diag([1.0, 1.0, -1.0, 1.0])
AXIAL = np.diag([-0.5, -0.7, 3.0, 1.0])


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-50, 900, (6, 8, 10)).astype(np.int16)


def only(folder: Path) -> Series:
    (series,) = find_series(folder)
    return series


@pytest.mark.parametrize("affine", [OBLIQUE, FLIPPED, AXIAL], ids=["oblique", "flipped", "axial"])
def test_voxels_and_affine_are_those_of_itk(tmp_path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    import SimpleITK as sitk

    write_dicom_series(tmp_path / "dicom", volume, affine)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "dicom")))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "itk.nii"))
    series = only(tmp_path / "dicom")
    image = read_series(series)
    oracle = read_image(tmp_path / "itk.nii")
    np.testing.assert_array_equal(image.data, oracle.data)
    np.testing.assert_allclose(image.grid.affine, oracle.grid.affine, atol=1e-5)
    assert series_faults(series) == []
    # and what was written comes back: the file's own axes, slices in the direction of their normal
    k = slice(None, None, -1) if np.linalg.det(affine[:3, :3]) < 0 else slice(None)
    np.testing.assert_array_equal(image.in_source_axes(image.data), volume[:, :, k])
    if k == slice(None):
        np.testing.assert_allclose(image.source.affine, affine, atol=1e-8)


def test_what_a_series_says(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom_series(tmp_path / "a", volume, OBLIQUE, PatientID="0900", Laterality="R", ProtocolName="DESS")
    series = only(tmp_path)
    assert (series.patient, series.study_date, series.description) == ("0900", "20050302", "SAG_3D_DESS")
    assert (series.protocol, series.manufacturer, series.body_part) == ("DESS", "SIEMENS", "KNEE")
    assert (series.modality, series.laterality, series.part, series.echo) == ("MR", "right", "", "")
    assert series.folder == tmp_path / "a"
    assert [file.name for file in series.files] == [f"{n:03d}" for n in range(1, 11)]
    assert "SAG_3D_DESS; 10 slices" in str(series)


def test_slices_are_ordered_by_position_not_by_name_or_number(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path / "a", volume, OBLIQUE, InstanceNumber=lambda k: (k * 7) % 10 + 1)
    expected = read_series(only(tmp_path / "a"))
    order = np.random.default_rng(1).permutation(10)
    for number, file in zip(order, files, strict=True):
        file.rename(tmp_path / "a" / f"IM{number:03d}.x")
    image = read_series(only(tmp_path / "a"))
    np.testing.assert_array_equal(image.data, expected.data)
    np.testing.assert_array_equal(image.in_source_axes(image.data), volume)


def test_a_missing_instance_number_is_no_fault(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom_series(tmp_path / "a", volume, OBLIQUE, InstanceNumber=None, ImagesInAcquisition=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a").data.size, volume.size)
    assert only(tmp_path / "a").problems == ()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ([5], r"\(1 missing, the widest gap is behind 004\); are files missing"),
        ([4, 5, 8], r"\(3 missing"),
        ([1], r"9 slices, the header says 10 images"),
        ([9, 10], r"8 slices, the header says 10 images"),
        ([2, 4, 6, 8, 10], r"only one in 2 is there"),
        (range(2, 11), "a single slice"),
    ],
)
def test_missing_slices(tmp_path: Path, volume: np.ndarray, missing: list[int], message: str) -> None:
    write_dicom_series(tmp_path, volume, OBLIQUE)
    for number in missing:
        (tmp_path / f"{number:03d}").unlink()
    assert re.search(message, "; ".join(series_faults(only(tmp_path))))
    with pytest.raises(UnreadableImage, match=message):
        read_image(tmp_path)


def test_a_start_at_another_number_is_a_note(tmp_path: Path, volume: np.ndarray) -> None:
    """Numbers may start anywhere, and headers count the images of all echoes: they prove nothing."""
    write_dicom_series(tmp_path / "a", volume, OBLIQUE, start=4, ImagesInAcquisition=None)
    series = only(tmp_path / "a")
    assert series.problems == ()
    assert "instance numbers start at 4" in series.notes[0]
    write_dicom_series(tmp_path / "ge", volume, OBLIQUE, start=11, ImagesInAcquisition=20)
    series = only(tmp_path / "ge")
    assert series.problems == ()
    assert "10 slices, the header says 20 images" in series.notes[0]
    assert only(tmp_path / "ge").notes == series.notes
    np.testing.assert_array_equal(read_image(tmp_path / "ge").data, read_image(tmp_path / "a").data)
    write_dicom_series(tmp_path / "whole", volume, OBLIQUE, start=101)
    assert only(tmp_path / "whole").notes == ()


def test_uneven_distances(tmp_path: Path, volume: np.ndarray) -> None:
    def place(number: int) -> list[float]:
        return [0.0, 0.0, 2.0 * number + (0.4 if number > 5 else 0.0)]

    write_dicom_series(tmp_path, volume, AXIAL, ImagePositionPatient=place)
    with pytest.raises(
        UnreadableImage, match=r"2\.000 to 2\.400 mm apart, expected an even distance \(uneven"
    ):
        read_image(tmp_path)


def _other(folder: Path, volume: np.ndarray, **tags: object) -> None:
    write_dicom_series(folder, volume[:, :, :3], AXIAL, names="other{:02d}", **tags)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "slices differ in orientation .*a localizer"),
        ({"PixelSpacing": [0.6, 0.5]}, "slices differ in pixel spacing"),
        ({"PatientID": "9000002"}, "slices of 2 different patients: two series mixed"),
        ({"StudyInstanceUID": "1.2.4"}, "slices of 2 different studies: two series mixed"),
        ({"Laterality": "L"}, "slices of 2 different sides"),
        ({"ImagePositionPatient": None}, "without ImagePositionPatient"),
        ({"PixelSpacing": None}, "3 of 13 slices without pixel spacing"),
        ({"Modality": "CT"}, "expected modality MR, got CT"),
    ],
)
def test_slices_that_differ(
    tmp_path: Path, volume: np.ndarray, tags: dict[str, object], message: str
) -> None:
    shared = {"SeriesInstanceUID": "1.2.3"}
    write_dicom_series(tmp_path, volume, AXIAL, **shared)
    behind = {"ImagePositionPatient": lambda k: [0.0, 0.0, 30.0 + 3.0 * k]}
    _other(tmp_path, volume, start=11, **(shared | behind | tags))
    with pytest.raises(UnreadableImage, match=message) as caught:
        read_image(tmp_path)
    assert not re.search(r"900000[12]|1\.2\.[34]", str(caught.value)), "an id is quoted"


def test_an_unreadable_element_is_not_quoted(tmp_path: Path, volume: np.ndarray) -> None:
    """A flipped bit makes a name of a patient a number of a slice."""
    files = write_dicom_series(tmp_path, volume, OBLIQUE)
    content = files[3].read_bytes()
    files[3].write_bytes(content.replace(b" \0\x13\0IS\x02\x004 ", b" \0\x13\0IS\x02\0EM"))
    assert files[3].read_bytes() != content
    (fault,) = only(tmp_path).problems[-1:]
    assert fault == (
        "004 is a damaged DICOM file that may belong here: pydicom cannot read its header (ValueError)"
    )


def test_series_that_let_their_slices_go(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path / "a", volume, OBLIQUE)
    enhanced(tmp_path / "enhanced", volume, tmp_path / "a")
    for place in ("a", "enhanced"):
        (series,) = find_series(tmp_path / place) if place == "a" else series_of([tmp_path / place])
        small = series.without_slices()
        assert (small.slices, len(small.places), str(small)) == ((), 10, str(series))
        np.testing.assert_array_equal(read_series(small).data, read_series(series).data)
        assert read_series(small).grid.same_as(read_series(series).grid)
    small = only(tmp_path / "a").without_slices()
    rewrite(files[4:5], lambda data, _: setattr(data, "SeriesInstanceUID", "1.2.3"))
    with pytest.raises(UnreadableImage, match=r"005 .*replaced by another series since it was found"):
        read_series(small)
    for content, message in ((b"hello", "005 .*no DICOM image any more"), (b"\0" * 128 + b"DICM", "005 ")):
        files[4].write_bytes(content)
        with pytest.raises(UnreadableImage, match=message):
            read_series(small)


def test_interleaved_frames_of_two_files(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom_series(tmp_path / "a", volume, OBLIQUE)
    expected = read_image(tmp_path / "a")
    for name, step in (("odd", 0), ("even", 1)):
        half = tmp_path / name
        half.mkdir()
        for number in range(1 + step, 11, 2):
            shutil.copy(tmp_path / "a" / f"{number:03d}", half)
        (tmp_path / "both").mkdir(exist_ok=True)
        enhanced(tmp_path / "both" / name, volume, half)
    np.testing.assert_array_equal(read_image(tmp_path / "both").data, expected.data)


def test_slices_of_another_size(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom_series(tmp_path, volume, AXIAL, SeriesInstanceUID="1.2.3")
    _other(tmp_path, volume[:5], SeriesInstanceUID="1.2.3", start=11)
    with pytest.raises(UnreadableImage, match=r"differ in rows and columns .*two series mixed"):
        read_image(tmp_path)


def test_copies_are_left_out_but_other_pixels_are_a_fault(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path, volume, OBLIQUE)
    expected = read_image(tmp_path)
    shutil.copy(files[3], tmp_path / "004 (copy)")
    series = only(tmp_path)
    assert series.problems == ()
    assert series.notes == ("1 files that are copies of others were left out, such as 004 (copy)",)
    np.testing.assert_array_equal(read_series(series).data, expected.data)

    content = bytearray((tmp_path / "004 (copy)").read_bytes())
    content[-3] ^= 1
    (tmp_path / "004 (copy)").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"1 positions more than once \(004 and 004 \(copy\)\)"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("EchoNumbers", 2, "echo 2"),
        ("TemporalPositionIdentifier", 2, "temporal position 2"),
        ("AcquisitionNumber", 2, "acquisition 2"),
        ("ImageType", ["DERIVED", "PRIMARY", "P"], "image type DERIVED/PRIMARY/P"),
    ],
)
def test_volumes_at_the_same_positions_are_told_apart(
    tmp_path: Path, volume: np.ndarray, name: str, value: object, part: str
) -> None:
    shared = {"SeriesInstanceUID": "1.2.3", "ImagesInAcquisition": 20}
    first = {"EchoNumbers": 1, "TemporalPositionIdentifier": 1} if name != "ImageType" else {}
    write_dicom_series(tmp_path, volume, OBLIQUE, **shared, **first)
    write_dicom_series(tmp_path, volume + 1, OBLIQUE, start=11, **shared, **(first | {name: value}))
    one, two = sorted(find_series(tmp_path), key=lambda series: series.part != part, reverse=True)
    assert two.part == part
    assert one.problems == two.problems == ()
    assert one.uid == two.uid
    np.testing.assert_array_equal(read_series(one).data + 1, read_series(two).data)
    with pytest.raises(UnreadableImage, match=f"(?s)one DICOM series, got 2.*choose with.*{part}"):
        read_image(tmp_path)
    (tmp_path / "015").unlink()
    (both,) = find_series(tmp_path)
    assert "more than once" in " ".join(both.problems)


def test_interleaved_echoes(tmp_path: Path, volume: np.ndarray) -> None:
    for echo in (1, 2):
        number = lambda k, echo=echo: 2 * k + echo  # noqa: E731
        tags = {"SeriesInstanceUID": "1.2.3", "EchoNumbers": echo, "ImagesInAcquisition": 20}
        write_dicom_series(
            tmp_path, volume * echo, OBLIQUE, names=f"e{echo}_{{:03d}}", InstanceNumber=number, **tags
        )
    found = find_series(tmp_path)
    assert [(series.echo, series.part, series.problems) for series in found] == [
        ("1", "echo 1", ()),
        ("2", "echo 2", ()),
    ]


def test_two_series_in_a_folder_are_listed(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom_series(tmp_path, volume, OBLIQUE)
    write_dicom_series(tmp_path, volume, AXIAL, names="b{:03d}", SeriesDescription="COR_T2")
    with pytest.raises(UnreadableImage, match=r"(?s)got 2; keep one series.*COR_T2; 10 slices.*SAG_3D_DESS"):
        read_image(tmp_path)
    assert [series.description for series in find_series(tmp_path)] == ["COR_T2", "SAG_3D_DESS"]


def test_other_files_are_passed_over(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path / "a", volume, OBLIQUE)
    for name in ("DICOMDIR", ".DS_Store", "readme.txt", "empty", "a.pdf"):
        (tmp_path / "a" / name).write_bytes(b"hello" * 100 * (name != "empty"))
    report = pydicom.dcmread(files[0])
    for name in ("PixelData", "Rows", "Columns"):
        delattr(report, name)
    report.Modality, report.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.11"
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.save_as(tmp_path / "a" / "report.dcm")
    assert only(tmp_path).problems == ()
    assert read_image(tmp_path / "a").grid.shape == (10, 6, 8)
    (tmp_path / "other").mkdir()
    assert find_series(tmp_path / "other") == []
    with pytest.raises(UnreadableImage, match="got 0"):
        read_image(tmp_path / "other")
    with pytest.raises(UnreadableImage, match="got no folder"):
        find_series(tmp_path / "nowhere")


def test_links_are_not_followed_in_circles_nor_out_of_the_tree(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path / "tree" / "store", volume, OBLIQUE)
    write_dicom_series(tmp_path / "outside", volume, AXIAL)
    (tmp_path / "tree" / "circle").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "tree" / "stolen").symlink_to(tmp_path / "outside" / "001")
    (tmp_path / "tree" / "self").symlink_to(tmp_path / "tree" / "self")
    (tmp_path / "tree" / "again").symlink_to(files[2])
    os.mkfifo(tmp_path / "tree" / "pipe")
    series = only(tmp_path / "tree")
    assert series.files == tuple(files)
    (tmp_path / "link").symlink_to(tmp_path / "tree")
    assert len(only(tmp_path / "link").files) == 10


def test_links_into_a_store_in_the_tree_count(tmp_path: Path, volume: np.ndarray) -> None:
    """As git-annex and DataLad lay folders out."""
    files = write_dicom_series(tmp_path / "a", volume, OBLIQUE)
    (tmp_path / ".objects").mkdir()
    for file in files:
        stored = tmp_path / ".objects" / f"{file.name}-hash"
        file.rename(stored)
        file.symlink_to(stored)
    assert len(only(tmp_path).files) == 10


def test_a_series_spread_over_folders(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path / "disk" / "0", volume, OBLIQUE)
    (tmp_path / "disk" / "1").mkdir()
    for file in files[5:]:
        file.rename(tmp_path / "disk" / "1" / file.name)
    series = only(tmp_path)
    assert series.folder == tmp_path / "disk"
    np.testing.assert_array_equal(read_series(series).in_source_axes(read_series(series).data), volume)


def test_a_damaged_file_is_no_missing_slice(tmp_path: Path, volume: np.ndarray) -> None:
    """The last slice leaves an even grid behind; that it was there must not be forgotten."""
    files = write_dicom_series(tmp_path, volume, OBLIQUE, ImagesInAcquisition=None)
    files[-1].write_bytes(files[-1].read_bytes()[:400])
    with pytest.raises(UnreadableImage, match="010"):
        read_image(tmp_path)
    for content in (b"", b"hello" * 100, files[0].read_bytes()[:-40]):
        files[-1].write_bytes(content)
        with pytest.raises(UnreadableImage, match="010"):
            read_image(tmp_path)


def test_truncated_pixels(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path, volume, OBLIQUE)
    series = only(tmp_path)
    files[4].write_bytes(files[4].read_bytes()[:-10])
    with pytest.raises(
        UnreadableImage, match=r"005 is a damaged DICOM file .* expected 108 or more of pixels"
    ):
        read_image(tmp_path)
    with pytest.raises(UnreadableImage, match=r"005 is truncated or damaged"):
        read_series(series)


def rewrite(files: list[Path], change: Callable[[Dataset, int], None]) -> None:
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        change(data, number)
        data.save_as(file)


def test_compressed_pixels(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path, volume, OBLIQUE)
    expected = read_image(tmp_path)
    rewrite(files, lambda data, _: data.compress(RLELossless, generate_instance_uid=False))
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.data, expected.data)
    np.testing.assert_allclose(image.grid.affine, expected.grid.affine)


@pytest.fixture
def same_locale() -> Iterator[None]:
    """GDCM's JPEG 2000 writer sets the locale of the whole process to C."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("same_locale")
def test_jpeg_2000(tmp_path: Path, volume: np.ndarray) -> None:
    import SimpleITK as sitk

    files = write_dicom_series(tmp_path, np.tile(volume, (3, 2, 1)), OBLIQUE)
    expected = read_image(tmp_path)
    for file in files:
        packed = sitk.ReadImage(str(file), imageIO="GDCMImageIO")
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG2000")
        writer.SetFileName(str(file))
        writer.Execute(packed)
    syntax = str(pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID)
    assert syntax == "1.2.840.10008.1.2.4.90"
    np.testing.assert_array_equal(read_image(tmp_path).data, expected.data)


def test_scaling_and_unused_bits(tmp_path: Path, volume: np.ndarray) -> None:
    stored = np.abs(volume)
    files = write_dicom_series(tmp_path, stored, OBLIQUE)

    def overlay(data: Dataset, number: int) -> None:
        pixels = np.frombuffer(data.PixelData, "<u2") | 0xF000  # bits that are no part of the pixels
        data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation = pixels.tobytes(), 12, 11, 0
        data.RescaleSlope, data.RescaleIntercept = ("0.5" if number else "2"), "-10"

    rewrite(files, overlay)
    image = read_image(tmp_path)
    slopes = np.array([2.0, *[0.5] * 9])
    np.testing.assert_allclose(image.in_source_axes(image.data), stored * slopes - 10)
    assert image.data.dtype == np.float32


def test_whole_scaling_stays_whole_and_colours_are_refused(tmp_path: Path, volume: np.ndarray) -> None:
    files = write_dicom_series(tmp_path, volume, OBLIQUE, RescaleSlope="1", RescaleIntercept="-1024")
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.in_source_axes(image.data), volume.astype(int) - 1024)
    assert image.data.dtype == np.int32

    def colour(data: Dataset, _: int) -> None:
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0

    rewrite(files, colour)
    with pytest.raises(UnreadableImage, match="expected one number per pixel"):
        read_image(tmp_path)


def enhanced(path: Path, volume: np.ndarray, source: Path) -> None:
    """All slices as frames of one file, last slice first."""
    slices = [pydicom.dcmread(file) for file in sorted(source.iterdir())][::-1]
    data = slices[0]
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    frames = []
    for one in slices:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    orientation, measures, anatomy, shared = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = data.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = data.PixelSpacing, data.SliceThickness
    anatomy.FrameLaterality = "L"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.FrameAnatomySequence = [anatomy]
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], frames
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(data, name)
    del data.SpacingBetweenSlices
    data.NumberOfFrames = len(frames)
    data.PixelData = b"".join(one.PixelData for one in slices)
    data.save_as(path)


def test_all_frames_in_one_file(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom_series(tmp_path / "a", volume, OBLIQUE)
    enhanced(tmp_path / "enhanced", volume, tmp_path / "a")
    expected, image = read_image(tmp_path / "a"), read_image(tmp_path / "enhanced")
    np.testing.assert_array_equal(image.data, expected.data)
    np.testing.assert_allclose(image.grid.affine, expected.grid.affine)
    assert header_side(tmp_path / "enhanced") == "left"
    assert read_grid(tmp_path / "enhanced").shape == expected.grid.shape
    with pytest.raises(UnreadableImage, match="one slice of a DICOM series; give its folder"):
        read_image(tmp_path / "a" / "001")


@pytest.mark.parametrize(
    ("tags", "side"),
    [
        ({"Laterality": "R"}, "right"),
        ({"ImageLaterality": "L"}, "left"),
        ({"SeriesDescription": "SAG_3D_DESS_RIGHT"}, "right"),
        ({"SeriesDescription": "dess", "ProtocolName": "Knee left"}, "left"),
        ({"Laterality": "L", "SeriesDescription": "SAG_3D_DESS_LEFT"}, "left"),
        ({"Laterality": "L", "SeriesDescription": "SAG_3D_DESS_RIGHT"}, ""),
        ({"SeriesDescription": "BRIGHT"}, ""),
        ({"SeriesDescription": "LEFT and RIGHT"}, ""),
    ],
)
def test_side(tmp_path: Path, volume: np.ndarray, tags: dict[str, str], side: str) -> None:
    files = write_dicom_series(tmp_path, volume[:, :, :2], OBLIQUE, **tags)
    assert only(tmp_path).laterality == side
    assert header_side(only(tmp_path)) == header_side(tmp_path) == header_side(files[0]) == side


def test_no_dicom_has_no_side(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"no")
    assert header_side(tmp_path / "a.nii") == header_side(tmp_path / "nowhere") == header_side(tmp_path) == ""


def test_real_series(shared_data: Path) -> None:
    series = only(shared_data / "mese-volunteer")
    assert series_faults(series) == []
    assert (series.echo, series.modality, len(series.files)) == ("2", "MR", 24)


def test_headers_are_read_once_and_without_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a look at large folders quick."""
    write_dicom_series(tmp_path, np.zeros((8, 8, 20), np.int16), OBLIQUE)
    calls: list[dict[str, Any]] = []
    dcmread = pydicom.dcmread

    def spy(*arguments: Any, **options: Any) -> Any:
        calls.append(options)
        return dcmread(*arguments, **options)

    monkeypatch.setattr(pydicom, "dcmread", spy)
    assert len(only(tmp_path).files) == 20
    assert len(calls) == 20
    assert all(call["stop_before_pixels"] and call["specific_tags"] for call in calls)
