from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torchio as tio
from miniature.dicom import write_dicom_series

from oahier.images import Grid, UnreadableImage, read_grid, read_image, write_image

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


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "packed"])
@pytest.mark.parametrize("suffix", ["nii", "nrrd", "nhdr", "mha", "mhd"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_every_format_gives_what_itk_reads(
    tmp_path: Path, volume: np.ndarray, kind: type, suffix: str, packed: bool
) -> None:
    import SimpleITK as sitk

    reference = read_image(save(tmp_path / "a.nii", (volume % 250).astype(kind)))
    written = sitk.ReadImage(str(tmp_path / "a.nii"))
    for key in written.GetMetaDataKeys():
        written.EraseMetaData(key)
    path = tmp_path / f"b.{suffix}"
    sitk.WriteImage(written, str(path), packed)
    image = read_image(path)
    assert image.data.dtype == (np.float32 if kind == np.float64 else kind)
    np.testing.assert_array_equal(image.data, reference.data)
    np.testing.assert_array_equal(image.data, read_image(tmp_path / "a.nii").data)
    assert image.grid.same_as(reference.grid, tolerance=1e-3)
    assert read_grid(path).same_as(image.grid, tolerance=1e-9)
    assert image.data.flags.writeable


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("space", ["left-posterior-superior", "RAS", "left-anterior-superior"])
def test_nrrd_of_another_writer(tmp_path: Path, volume: np.ndarray, order: str, space: str) -> None:
    """Spaces and byte orders that ITK does not write."""
    signs = {"left-posterior-superior": [-1, -1, 1], "RAS": [1, 1, 1], "left-anterior-superior": [-1, 1, 1]}
    vectors = [f"({','.join(map(repr, map(float, row)))})" for row in (np.diag(signs[space]) @ OBLIQUE[:3]).T]
    header = (
        f"NRRD0005\r\n# a note\r\ntype: short\r\ndimension: 3\r\nspace: {space}\r\nsizes: 10 12 14\r\n"
        f"space directions: {' '.join(vectors[:3])}\r\nkinds: domain domain domain\r\nencoding: gz\r\n"
        f"endian: {'little' if order == '<' else 'big'}\r\nspace origin: {vectors[3]}\r\nkey:=value\r\n\r\n"
    )
    voxels = volume.astype(f"{order}i2").tobytes(order="F")
    (tmp_path / "a.nrrd").write_bytes(header.encode() + gzip.compress(voxels))
    image = read_image(tmp_path / "a.nrrd")
    reference = read_image(save(tmp_path / "b.nii", volume))
    np.testing.assert_array_equal(image.data, reference.data)
    np.testing.assert_allclose(image.grid.affine, reference.grid.affine, atol=1e-5)
    assert image.data.dtype == np.int16


def test_a_pair_of_files(tmp_path: Path, volume: np.ndarray) -> None:
    nib.save(nib.Nifti1Pair(volume, OBLIQUE), tmp_path / "a.img")
    reference = read_image(save(tmp_path / "b.nii", volume))
    for name in ("a.img", "a.hdr"):
        np.testing.assert_array_equal(read_image(tmp_path / name).data, reference.data)
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableImage, match=r"a\.img cannot be read"):
        read_image(tmp_path / "a.hdr")


@pytest.mark.parametrize("kind", ["nifti2", "big endian"])
def test_other_nifti(tmp_path: Path, volume: np.ndarray, kind: str) -> None:
    if kind == "nifti2":
        nib.save(nib.Nifti2Image(volume, OBLIQUE), tmp_path / "a.nii.gz")
    else:
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(np.dtype(">i2"))
        nib.save(nib.Nifti1Image(volume.astype(">i2"), OBLIQUE, header), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    reference = read_image(save(tmp_path / "b.nii", volume))
    np.testing.assert_array_equal(image.data, reference.data)
    assert image.data.dtype == np.int16
    assert read_grid(tmp_path / "a.nii.gz").same_as(reference.grid)


def test_units_of_the_header(tmp_path: Path, volume: np.ndarray) -> None:
    image = nib.Nifti1Image(volume, np.diag([400.0, 500.0, 3000.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").grid.spacing, (0.4, 0.5, 3.0))


@pytest.mark.parametrize("kind", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_one_number_per_voxel(tmp_path: Path, volume: np.ndarray, kind: type) -> None:
    nib.save(nib.Nifti1Image(np.zeros(volume.shape, kind), np.eye(4)), tmp_path / "a.nii.gz")
    for read in (read_image, read_grid):
        with pytest.raises(UnreadableImage, match="expected one number per voxel"):
            read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_colours_are_refused(tmp_path: Path, suffix: str) -> None:
    import SimpleITK as sitk

    colours = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / f"a.{suffix}"))
    with pytest.raises(UnreadableImage, match="expected one number per voxel, got 3"):
        read_image(tmp_path / f"a.{suffix}")


def test_gzip_in_blocks(tmp_path: Path, volume: np.ndarray) -> None:
    """As bgzip and some parallel compressors write it."""
    path = save(tmp_path / "a.nii", volume)
    content, expected = path.read_bytes(), read_image(path)
    blocks = [gzip.compress(content[start : start + 500]) for start in range(0, len(content), 500)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(blocks) + bytes(512))
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").data, expected.data)
    (tmp_path / "a.nii.gz").write_bytes(b"".join(blocks) + b"garbage")
    image = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.data, expected.data)
    assert image.notes == ("7 bytes that follow its voxels were passed over",)
    (tmp_path / "a.nii.gz").write_bytes(b"".join(blocks) + b"garbage" * 200_000)
    with pytest.raises(UnreadableImage, match="1400000 bytes follow the compressed data"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-2.0, 1.5, -0.5, 1.0]), OBLIQUE])
def test_back_to_the_axes_of_the_file(tmp_path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    image = read_image(save(tmp_path / "a.nii.gz", volume, affine))
    np.testing.assert_array_equal(image.in_source_axes(image.data), volume)
    assert image.source.shape == volume.shape
    np.testing.assert_allclose(image.source.affine, affine, atol=1e-5)
    with pytest.raises(ValueError, match="expected an array of the image's shape"):
        image.in_source_axes(image.data[1:])


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (np.uint8, np.uint8), (np.int16, np.int16), (np.float32, np.float32), (bool, np.uint8),
        (np.float64, np.float32), (np.int64, np.int16), (np.uint32, np.int16),
    ],
)  # fmt: skip
def test_writing(tmp_path: Path, volume: np.ndarray, kind: type, stored: type) -> None:
    values = (volume % 2).astype(kind) if kind in (bool, np.uint8) else volume.astype(kind)
    path = write_image(tmp_path / "new" / "a.nii.gz", values, OBLIQUE)
    first = path.read_bytes()
    found = nib.load(path)
    assert found.get_data_dtype() == stored
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), values)
    assert (int(found.header["sform_code"]), int(found.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(found.affine, OBLIQUE, atol=1e-5)
    np.testing.assert_allclose(found.get_qform(), OBLIQUE, atol=1e-5)
    image = read_image(path)
    np.testing.assert_array_equal(image.in_source_axes(image.data), values)
    assert write_image(path, values, OBLIQUE).read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["a.nii.gz"]


def test_what_cannot_be_written(tmp_path: Path, volume: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"ending in \.nii\.gz or \.nii, got 'a\.nrrd'"):
        write_image(tmp_path / "a.nrrd", volume, OBLIQUE)
    with pytest.raises(ValueError, match="whole numbers that 32 bits hold"):
        write_image(tmp_path / "a.nii.gz", volume.astype(np.int64) << 40, OBLIQUE)
    assert list(tmp_path.iterdir()) == []


def test_pipes_and_missing_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    for name in ("a.nii.gz", "b.nii.gz", "b.nrrd", "b.mha", "b.dcm", "folder"):
        for read in (read_image, read_grid):
            with pytest.raises(UnreadableImage, match=f"{name}.*(no such file|regular file)"):
                read(tmp_path / name)


def test_a_dicom_folder(tmp_path: Path, volume: np.ndarray) -> None:
    # Sagittal slices from left to right; rows run anterior to posterior, columns superior to inferior.
    sagittal = nib.affines.from_matvec(np.array([[0, 0, 3.0], [-0.5, 0, 0], [0, -0.4, 0]]), [-60, 20, 30])
    write_dicom_series(tmp_path / "series", volume, sagittal)
    image = read_image(tmp_path / "series")
    assert image.grid.shape == (14, 10, 12)
    np.testing.assert_allclose(image.grid.spacing, (3.0, 0.5, 0.4), atol=1e-6)
    np.testing.assert_array_equal(image.data[0], volume[::-1, ::-1, 0])
    (tmp_path / "series" / "004").unlink()
    with pytest.raises(UnreadableImage, match="are files missing"):
        read_image(tmp_path / "series")
    write_dicom_series(tmp_path / "series", volume, sagittal, names="b{:03d}", SeriesInstanceUID="1.2")
    with pytest.raises(UnreadableImage, match="one DICOM series, got 2"):
        read_image(tmp_path / "series")


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


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("letters", [b"M\xfcller \x85", "Müller".encode()], ids=["latin-1", "utf-8"])
def test_comments_in_any_encoding(tmp_path: Path, volume: np.ndarray, name: str, letters: bytes) -> None:
    import SimpleITK as sitk

    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))
    expected = read_image(path)
    content = path.read_bytes()
    if name == "a.nrrd":
        content = content.replace(b"\n", b"\n# " + letters + b"\nwho:=" + letters + b"\n", 1)
    else:
        content = content.replace(b"\n", b"\nComment = " + letters + b"\nComment = " + letters + b"\n", 1)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path).data, expected.data)
    np.testing.assert_array_equal(read_grid(path).affine, expected.grid.affine)


@pytest.mark.parametrize(
    "line", ["PatientName{} INVENTED^NAME 1900-01-01", "INVENTED NAME", "INVENTED 1900{} 1"]
)
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_no_value_of_a_header_is_quoted(tmp_path: Path, volume: np.ndarray, name: str, line: str) -> None:
    import SimpleITK as sitk

    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))
    words = line.format(":" if name == "a.nrrd" else " =").encode()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n" + words + b"\n" + words + b"\n", 1))
    for read in (read_image, read_grid):
        with pytest.raises(UnreadableImage, match=r"(?i)repeated field 'pat|is no field") as caught:
            read(path)
        assert "INVENTED" not in str(caught.value)
        assert ("patientname" in str(caught.value).lower()) == line.startswith("Pat")


@pytest.mark.parametrize("slope", ["1.000000", "1e0", "2"])
def test_slopes_of_metaimage(tmp_path: Path, volume: np.ndarray, slope: str) -> None:
    import SimpleITK as sitk

    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))
    expected = read_image(path).data
    line = f"\nElementToIntensityFunctionSlope = {slope}\n".encode()
    path.write_bytes(path.read_bytes().replace(b"\n", line, 1))
    if float(slope) == 1:
        np.testing.assert_array_equal(read_image(path).data, expected)
    else:
        with pytest.raises(UnreadableImage, match="ElementToIntensityFunctionSlope is not supported"):
            read_image(path)
