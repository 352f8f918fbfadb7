"""Series in the habits of seven vendors, and of exports, against what SimpleITK reads of them."""

from __future__ import annotations

import locale
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from miniature.dicom import write_dicom_series
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from oahier.images import UnreadableImage, read_image
from oahier.images.dicom import Series, find_series, pixels, read_series

AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.15) @ np.array([[0, 0, 0.7], [-0.5, 0, 0], [0, -0.4, 0]]),
    [-31, 17, 5],
)
VOLUME = np.random.default_rng(0).integers(0, 3000, (20, 16, 6)).astype(np.uint16)
JPEG = {
    "JPEG": "1.2.840.10008.1.2.4.70",
    "JPEG2000": "1.2.840.10008.1.2.4.90",
}
HABITS = {
    "SIEMENS": {"SeriesDescription": "t2_de3d_we_sag", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]},
    "GE MEDICAL SYSTEMS": {"ImagesInAcquisition": 12, "EchoNumbers": 1, "SpacingBetweenSlices": "1.4"},
    "Philips Medical Systems": {"RescaleSlope": "4.25885", "RescaleIntercept": "0", "InstanceNumber": None},
    "TOSHIBA": {"start": 101, "ImagesInAcquisition": None, "RescaleSlope": lambda k: str(1 + k / 4)},
    "Hitachi": {"SliceThickness": "0.70", "ImageType": ["ORIGINAL", "PRIMARY"]},
    "ESAOTE": {"SliceThickness": None, "SpacingBetweenSlices": None, "SeriesDescription": "Sag\xe9"},
    "UIH": {"RescaleSlope": "1", "RescaleIntercept": "-1024", "start": 0},
}


@pytest.fixture(autouse=True)
def same_locale() -> Iterator[None]:
    """GDCM's JPEG 2000 writer sets the locale of the whole process to C."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


def only(folder: Path) -> Series:
    (series,) = find_series(folder)
    return series


def rewrite(files: list[Path], change: Callable[[Dataset, int], None]) -> None:
    for number, file in enumerate(files):
        data = pydicom.dcmread(file)
        change(data, number)
        data.save_as(file)


def write_commas(files: list[Path], name: str) -> None:
    """Turn the points of an element, of 12 characters at most, into commas."""
    tag = pydicom.tag.Tag(name)
    key = tag.group.to_bytes(2, "little") + tag.elem.to_bytes(2, "little") + b"DS"
    for file in files:
        head, found, rest = file.read_bytes().partition(key)
        assert b"." in rest[:12]
        file.write_bytes(head + found + rest[:12].replace(b".", b",") + rest[12:])


def compress(files: list[Path], kind: str) -> None:
    """The pixels of files, unpacked ones, as GDCM or pydicom compress them; the header stays."""
    import SimpleITK as sitk

    for file in files:
        data = pydicom.dcmread(file)
        if kind == "RLE":
            data.compress(RLELossless, generate_instance_uid=False)
        elif kind in JPEG:
            names = ("SOPClassUID", "SOPInstanceUID", "Modality", "PixelSpacing", "ImagePositionPatient")
            bare = Dataset()
            bare.update({element.keyword: element.value for element in data.group_dataset(0x28)})
            bare.update({name: data[name].value for name in names if name in data})
            bare.PixelData, bare.RescaleSlope, bare.RescaleIntercept = data.PixelData, "1", "0"
            bare.file_meta = data.file_meta
            packed = file.with_suffix(".packed.dcm")
            bare.save_as(packed)
            writer = sitk.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetUseCompression(True)
            writer.SetCompressor(kind)
            writer.SetFileName(str(packed))
            writer.Execute(sitk.ReadImage(str(packed), imageIO="GDCMImageIO"))
            made = pydicom.dcmread(packed)
            data.file_meta.TransferSyntaxUID = made.file_meta.TransferSyntaxUID
            assert data.file_meta.TransferSyntaxUID == JPEG[kind]
            data.PixelData = made.PixelData
            data["PixelData"].is_undefined_length, data["PixelData"].VR = True, "OB"
            packed.unlink()
        data.save_as(file)


def itk(folder: Path, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (i, j, k) and affine (RAS+) as ITK reads them, slices in the order that they were written in."""
    import SimpleITK as sitk

    images = [sitk.ReadImage(str(file), imageIO="GDCMImageIO") for file in files]
    volume = images[0]
    if len(files) > 1:
        reader = sitk.ImageSeriesReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileNames([str(file) for file in files])
        volume = reader.Execute()
    path = folder.with_suffix(".nii")
    sitk.WriteImage(volume, str(path))
    # file by file: the reader of series gives every slice the type of the first, and cuts fractions off
    voxels = np.concatenate([sitk.GetArrayFromImage(image).astype(float) for image in images])
    return voxels.T, nib.load(path).affine


@pytest.mark.parametrize("kind", ["plain", "RLE", *JPEG])
def test_voxels_and_affine_of_seven_vendors_are_those_of_itk(tmp_path: Path, kind: str) -> None:
    for number, (vendor, tags) in enumerate(HABITS.items()):
        if kind in JPEG and "RescaleSlope" not in tags:  # each unpacked by a process of its own
            continue
        folder = tmp_path / str(number)
        files = write_dicom_series(folder, VOLUME, AFFINE, Manufacturer=vendor, **tags)
        compress(files, kind)
        voxels, affine = itk(folder, files)
        if vendor == "Hitachi":
            write_commas(files, "SliceThickness")
        series = only(folder)
        assert series.problems == ()
        image = read_series(series)
        stored = image.in_source_axes(image.data)
        np.testing.assert_allclose(stored, voxels, rtol=1e-6)
        np.testing.assert_allclose(image.source.affine, affine, atol=2e-5)
        notes = " ".join(series.notes)
        assert ("instance numbers start at 101" in notes) == (vendor == "TOSHIBA")
        assert ("SliceThickness has a decimal comma" in notes) == (vendor == "Hitachi")
        assert ("one of 2 echoes" in notes) == (vendor.startswith("GE"))


def test_transfer_syntaxes_of_one_slice_are_equal(tmp_path: Path) -> None:
    """A real MR slice as pydicom ships it, the plain one first, then JPEG-LS and others."""
    names = ("", "_jpeg_ls_lossless", "_jp2klossless", "_RLE", "_bigendian", "_expb", "_implicit", "_padded")
    for number, name in enumerate(names):
        data = pydicom.dcmread(str(get_testdata_file(f"MR_small{name}.dcm")))
        data.ImagePositionPatient[2] = 2.0 * number
        data.SeriesInstanceUID, data.InstanceNumber = "1.2.3", number + 1
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data.save_as(tmp_path / str(number))
    image = read_series(only(tmp_path))
    slices = image.in_source_axes(image.data)
    expected = pydicom.dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array.T
    assert slices.shape == (64, 64, 8)
    for number, name in enumerate(names):
        np.testing.assert_array_equal(slices[..., number], expected, err_msg=name)


def enhanced(path: Path, source: list[Path], slopes: list[float] | float) -> None:
    """All slices as frames of one file, scaled for every frame or for all."""
    slices = [pydicom.dcmread(file) for file in source]
    data = slices[0]
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    shared, orientation, measures, frames = Dataset(), Dataset(), Dataset(), []
    orientation.ImageOrientationPatient = data.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = data.PixelSpacing, data.SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    for number, one in enumerate(slices):
        frame, position, scale = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        scale.RescaleSlope = slopes[number] if isinstance(slopes, list) else slopes
        scale.RescaleIntercept, scale.RescaleType = "-5", "US"
        (frame if isinstance(slopes, list) else shared).PixelValueTransformationSequence = [scale]
        frames.append(frame)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], frames
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(data, name)
    data.NumberOfFrames = len(frames)
    data.PixelData = b"".join(one.PixelData for one in slices)
    data.save_as(path)


@pytest.mark.parametrize("kind", ["plain", "RLE", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("slopes", [2.5, [1, 1.25, 1.5, 1.75, 2, 2.25]], ids=["shared", "per frame"])
def test_enhanced_files_are_scaled_frame_by_frame(tmp_path: Path, kind: str, slopes: list[float]) -> None:
    """DICOM PS3.3 C.7.6.16.2.9: stored * slope + intercept, of the frame or of all frames."""
    files = write_dicom_series(tmp_path / "single", VOLUME, AFFINE)
    file = tmp_path / "enhanced.dcm"
    enhanced(file, files, slopes)
    compress([file], kind)
    image = read_image(file)
    np.testing.assert_allclose(
        image.in_source_axes(image.data), VOLUME * np.array(slopes, dtype=np.float64) - 5, rtol=1e-6
    )
    np.testing.assert_allclose(image.source.affine, AFFINE, atol=1e-5)
    if kind == "plain" and not isinstance(slopes, list):
        voxels, affine = itk(tmp_path / "itk", [file])
        np.testing.assert_allclose(image.in_source_axes(image.data), voxels, rtol=1e-6)
        np.testing.assert_allclose(image.source.affine, affine, atol=1e-5)


@pytest.mark.parametrize("extra", [2, 128])
def test_padded_pixels_are_read_with_a_note(tmp_path: Path, extra: int) -> None:
    """DICOM PS3.5 8.1.1: receivers accept the padding of older applications."""
    files = write_dicom_series(tmp_path, VOLUME, AFFINE)
    expected = read_image(tmp_path)
    rewrite(files, lambda data, _: setattr(data, "PixelData", data.PixelData + b"\0" * extra))
    assert only(tmp_path).notes == ("pixel data is longer than its rows and columns need",)
    np.testing.assert_array_equal(read_image(tmp_path).data, expected.data)
    files[2].write_bytes(files[2].read_bytes()[: -extra - 2])
    with pytest.raises(UnreadableImage, match="003 is a damaged DICOM file"):
        read_image(tmp_path)


def test_room_for_another_frame_is_no_padding(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME, AFFINE)
    rewrite(files, lambda data, number: setattr(data, "PixelData", data.PixelData * (1 + (number == 2))))
    with pytest.raises(UnreadableImage, match=r"003 .* 1280 bytes of pixels, expected 640 for 1 frames"):
        read_image(tmp_path)


def _other_writer(data: Dataset, _: int) -> None:
    data.file_meta.ImplementationVersionName = "PACS"


def _other_element(data: Dataset, _: int) -> None:
    data.StationName, data.AcquisitionNumber = "PACS", 7


def _other_instance(data: Dataset, number: int) -> None:
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"


@pytest.mark.parametrize("change", [_other_writer, _other_element, _other_instance, "RLE", "JPEG2000"])
def test_a_series_exported_twice_is_one(tmp_path: Path, change: Callable[[Dataset, int], None] | str) -> None:
    """SOPInstanceUID identifies the instance (PS3.3 C.12.1); so do pixels and position."""
    files = write_dicom_series(tmp_path, VOLUME, AFFINE, RescaleSlope="0.5")
    expected = read_image(tmp_path)
    copies = [Path(shutil.copy(file, tmp_path / f"b{file.name}")) for file in files]
    if isinstance(change, str):
        compress(copies, change)
    else:
        rewrite(copies, change)
    series = only(tmp_path)
    assert (series.problems, len(series.places)) == ((), 6)
    assert series.notes == ("6 files that are copies of others were left out, such as b001",)
    np.testing.assert_array_equal(read_series(series).data, expected.data)


def test_files_without_positions_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tree's ultrasound and screenshots headers are enough."""
    write_dicom_series(tmp_path, VOLUME, AFFINE, Modality="US", ImagePositionPatient=None)
    monkeypatch.setattr(pixels, "hashes", lambda _: pytest.fail("pixels were unpacked"))
    assert "without ImagePositionPatient" in " ".join(only(tmp_path).problems)


def test_an_enhanced_file_exported_twice_is_one(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path / "single", VOLUME, AFFINE)
    (tmp_path / "twice").mkdir()
    for name in "ab":
        enhanced(tmp_path / "twice" / name, files, [1, 1.25, 1.5, 1.75, 2, 2.25])
    rewrite([tmp_path / "twice" / "b"], _other_element)
    expected = read_image(tmp_path / "twice" / "a")
    np.testing.assert_array_equal(read_image(tmp_path / "twice").data, expected.data)


def test_copies_that_differ_are_refused_by_name_unless_one_insists(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME, AFFINE, ImagesInAcquisition=None)
    expected = read_image(tmp_path)
    shutil.copy(files[3], tmp_path / "other")
    rewrite([tmp_path / "other"], lambda data, _: setattr(data, "RescaleSlope", "2"))
    with pytest.raises(
        UnreadableImage, match=r"1 positions more than once \(004 and other\).*--insist copies\)"
    ):
        read_image(tmp_path)
    (series,) = find_series(tmp_path, insist=["copies"])
    assert series.notes == (
        "read although 1 positions occur more than once: the first slice at each was read",
    )
    np.testing.assert_array_equal(read_series(series).data, expected.data)
    assert find_series(tmp_path, insist=["gaps", "numbers", "modality"])[0].problems


def test_gaps_modality_and_numbers_are_read_if_one_insists(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME, AFFINE, Modality="CT", ImagesInAcquisition=9)
    files[2].unlink()
    kinds = ("modality", "gaps", "numbers")
    assert len(only(tmp_path).problems) == 3
    for kind in kinds:
        assert len(find_series(tmp_path, insist=[kind])[0].problems) == 2
    (series,) = find_series(tmp_path, insist=kinds)
    image = read_series(series)
    np.testing.assert_array_equal(image.in_source_axes(image.data), np.delete(VOLUME, 2, axis=2))
    np.testing.assert_allclose(image.source.affine[:3, 2] * 4, AFFINE[:3, 2] * 5, atol=1e-5)
    assert len([note for note in series.notes if note.startswith("read although")]) == 3


@pytest.mark.parametrize("name", ["SliceThickness", "SpacingBetweenSlices", "PixelSpacing", "RescaleSlope"])
def test_decimal_commas(tmp_path: Path, name: str) -> None:
    tags = {"SliceThickness": "0.70", "SpacingBetweenSlices": "0.70", "RescaleSlope": "0.70"}
    tags |= {"EchoTime": "5"}
    files = write_dicom_series(tmp_path, VOLUME, AFFINE, **tags)
    expected = read_image(tmp_path)
    write_commas(files, name)
    series = only(tmp_path)
    assert series.problems == ()
    assert series.notes == (f"{name} has a decimal comma",)
    image = read_series(series)
    np.testing.assert_array_equal(image.data, expected.data)
    np.testing.assert_array_equal(image.grid.affine, expected.grid.affine)


def test_a_thickness_that_is_no_number_is_passed_over(tmp_path: Path) -> None:
    for file in write_dicom_series(tmp_path, VOLUME, AFFINE, SliceThickness="0.70"):
        content = file.read_bytes()
        written = b"\x18\0\x50\0DS\x04\0"
        assert written + b"0.70" in content
        file.write_bytes(content.replace(written + b"0.70", written + b"n/a "))
    series = only(tmp_path)
    assert (series.problems, series.notes) == ((), ("SliceThickness is no number and was passed over",))
