from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torchio as tio

from oahier.data.reading import Grid, UnreadableImage, read_grid, read_image

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.15) @ np.array([[0, 0, 2.0], [-1.5, 0, 0], [0, -0.8, 0]]),
    [-31, 17, 5],
)
"""A left-handed, rotated grid whose axes run posterior, inferior, right."""


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, (10, 12, 14)).astype(np.int16)


def save(path: Path, data: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-2.0, 1.5, -0.5, 1.0]), OBLIQUE])
def test_axes_turn_to_ras_as_torchio_turns_them(
    tmp_path: Path, volume: np.ndarray, affine: np.ndarray
) -> None:
    path = save(tmp_path / "a.nii.gz", volume, affine)
    expected = tio.ToCanonical()(tio.ScalarImage(path))
    image = read_image(path)
    np.testing.assert_array_equal(image.data, expected.data[0].numpy())
    np.testing.assert_allclose(image.grid.affine, expected.affine, atol=1e-5)
    assert nib.aff2axcodes(image.grid.affine) == ("R", "A", "S")
    header = read_grid(path)
    assert header.shape == image.grid.shape
    np.testing.assert_allclose(header.affine, image.grid.affine)


@pytest.mark.parametrize("suffix", ["nii", "nrrd", "mha"])
def test_every_format_gives_the_same_grid(tmp_path: Path, volume: np.ndarray, suffix: str) -> None:
    import SimpleITK as sitk

    reference = read_image(save(tmp_path / "a.nii.gz", volume))
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")), str(tmp_path / f"b.{suffix}"))
    image = read_image(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(image.data, reference.data)
    assert image.grid.same_as(reference.grid, tolerance=1e-3)
    assert read_grid(tmp_path / f"b.{suffix}").same_as(reference.grid, tolerance=1e-3)


def test_a_dicom_folder(tmp_path: Path, volume: np.ndarray) -> None:
    write_dicom(tmp_path / "series", volume)
    image = read_image(tmp_path / "series")
    assert image.grid.shape == (10, 12, 14)
    np.testing.assert_allclose(image.grid.spacing, (3.0, 0.5, 0.4), atol=1e-6)
    np.testing.assert_array_equal(np.sort(image.data.ravel()), np.sort(volume.ravel()))
    # Sagittal slices from left to right; rows run anterior to posterior, columns superior to inferior.
    np.testing.assert_array_equal(image.data[0], volume[0][::-1, ::-1])
    (tmp_path / "series" / "04.dcm").unlink()
    with pytest.raises(UnreadableImage, match="are files missing"):
        read_image(tmp_path / "series")
    write_dicom(tmp_path / "series", volume, series="2")
    with pytest.raises(UnreadableImage, match="one DICOM series, got 2"):
        read_image(tmp_path / "series")


def write_dicom(folder: Path, volume: np.ndarray, series: str = "1") -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(exist_ok=True)
    uid = generate_uid(entropy_srcs=[series])
    for number, values in enumerate(volume):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
        path = folder / f"{number:02d}{series if series != '1' else ''}.dcm"
        slice_ = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        slice_.StudyInstanceUID = slice_.SeriesInstanceUID = slice_.FrameOfReferenceUID = uid
        slice_.Modality, slice_.InstanceNumber, slice_.PatientID = "MR", number + 1, "x"
        slice_.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        slice_.ImagePositionPatient = [60 - 3.0 * number, -20.0, 30.0]
        slice_.PixelSpacing, slice_.SliceThickness = [0.4, 0.5], 3.0
        slice_.Rows, slice_.Columns = values.shape[1], values.shape[0]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 1
        slice_.PixelData = np.ascontiguousarray(values.T).astype("<i2").tobytes()
        slice_.save_as(path, enforce_file_format=True)


def test_scaling_of_the_header_is_applied(tmp_path: Path, volume: np.ndarray) -> None:
    image = nib.Nifti1Image(volume, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(
        read_image(tmp_path / "a.nii.gz").data, nib.load(tmp_path / "a.nii.gz").get_fdata()
    )


def test_a_trailing_axis_of_one_is_no_time_axis(tmp_path: Path, volume: np.ndarray) -> None:
    path = save(tmp_path / "a.nii.gz", volume[..., None], np.eye(4))
    np.testing.assert_array_equal(read_image(path).data, volume)
    assert read_grid(path).shape == volume.shape


@pytest.mark.parametrize(
    ("shape", "kind"), [((8, 9), "2D"), ((8, 9, 1), "single-slice"), ((8, 9, 4, 3), "4D")]
)
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_only_volumes(tmp_path: Path, shape: tuple[int, ...], kind: str, suffix: str) -> None:
    import SimpleITK as sitk

    path = tmp_path / f"a.{suffix}"
    if suffix == "nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(np.ones(shape[::-1], np.float32), isVector=False), str(path))
    else:
        save(path, np.ones(shape, np.float32), np.eye(4))
    with pytest.raises(UnreadableImage, match=rf"expected a 3D volume, got a {kind} image of"):
        read_image(path)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("suffix", ["nii.gz", "nii"])
def test_truncated_files_are_noticed(tmp_path: Path, volume: np.ndarray, suffix: str, part: float) -> None:
    path = save(tmp_path / f"a.{suffix}", volume)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UnreadableImage, match=r"a\.nii"):
        read_image(path)


def test_flipped_bits_are_noticed(tmp_path: Path, volume: np.ndarray) -> None:
    path = save(tmp_path / "a.nii.gz", volume)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"hello" * 300])
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_image, read_grid):
        with pytest.raises(UnreadableImage, match=name):
            read(tmp_path / name)


def test_a_plain_nifti_in_a_gz_name_is_read(tmp_path: Path, volume: np.ndarray) -> None:
    path = save(tmp_path / "a.nii.gz", volume, np.eye(4))
    path.write_bytes(gzip.decompress(path.read_bytes()))
    np.testing.assert_array_equal(read_image(path).data, volume)


def test_sheared_and_empty_grids_are_refused(tmp_path: Path, volume: np.ndarray) -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    with pytest.raises(UnreadableImage, match=r"a\.nii\.gz: .*sheared"):
        read_image(save(tmp_path / "a.nii.gz", volume, sheared))
    flat = save(tmp_path / "b.nii", volume, np.eye(4))
    content = bytearray(flat.read_bytes())
    content[312:328] = bytes(16)  # the header's third row of the affine
    flat.write_bytes(content)
    for read in (read_image, read_grid):
        with pytest.raises(UnreadableImage, match=r"b\.nii: expected a finite voxel size above 0"):
            read(flat)


def test_same_grid() -> None:
    grid = Grid((10, 12, 14), OBLIQUE)
    moved = OBLIQUE.copy()
    moved[0, 3] += 0.05
    assert grid.same_as(Grid((10, 12, 14), moved))
    moved[0, 3] += 0.1
    assert not grid.same_as(Grid((10, 12, 14), moved))
    assert not grid.same_as(Grid((10, 12, 15), OBLIQUE))
    np.testing.assert_allclose(grid.extent, np.array(grid.shape) * grid.spacing)


def test_real_dicom_equals_its_nifti_sibling(shared_data: Path) -> None:
    dicom, nifti = (
        read_image(shared_data / "mese-volunteer" / name) for name in ("dicom-te12", "te13.nii.gz")
    )
    assert dicom.grid.same_as(nifti.grid)
    correlation = np.corrcoef(dicom.data.ravel().astype(float), nifti.data.ravel().astype(float))[0, 1]
    assert correlation > 0.95
