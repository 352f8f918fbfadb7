"""Files that other programs read: each is read here too, with its voxels, and a note of what was amiss."""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from oahier.images import UnreadableImage, image_files, read_grid, read_image

AFFINE = nib.affines.from_matvec(np.diag([-0.5, 0.4, 0.7]), [31, 17, 5])
VOLUME = np.random.default_rng(0).integers(0, 900, (6, 7, 5)).astype(np.int16)


@pytest.fixture
def header() -> Any:
    """A NIfTI header with a qform only."""
    image = nib.Nifti1Image(VOLUME, None)
    image.set_qform(AFFINE, code=1)
    image.header["vox_offset"] = 352
    return image.header


def _set(**values: Any) -> Callable[[Any], None]:
    def change(header: Any) -> None:
        for name, value in values.items():
            header[name] = value

    return change


def _pixdim(place: int, value: float) -> Callable[[Any], None]:
    def change(header: Any) -> None:
        header["pixdim"][place] = value

    return change


def _long_quaternion(header: Any) -> None:
    header["pixdim"][0] = 1
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = 0, 0, np.float32(1 + 4e-7)


REPAIRED = {
    "qfac 0": (_pixdim(0, 0), ""),
    "qfac 3": (_pixdim(0, 3), r"pixdim\[0\] of its header was 3, its sign was taken"),
    "negative size": (_pixdim(1, -0.5), "negative sizes of voxels"),
    "long quaternion": (_long_quaternion, "quaternion of its header was longer than 1 by"),
    "sform of zeros": (_set(sform_code=1), "sform of its header has an axis without length, the qform was"),
    "sform of NaN": (_set(sform_code=1, srow_x=np.nan, srow_y=1.0), "the qform was taken"),
    "bits": (_set(bitpix=32), "32 bits per voxel of type int16, 16 were read"),
    "magic": (_set(magic=b"ni1"), "magic b'ni1' of another kind"),
    "unit": (_set(xyzt_units=7), "unknown unit 7, millimetres are assumed"),
}


@pytest.mark.parametrize(("change", "note"), REPAIRED.values(), ids=REPAIRED)
def test_nifti_headers(tmp_path: Path, header: Any, change: Callable[[Any], None], note: str) -> None:
    """Voxels and grid as SimpleITK reads them."""
    change(header)
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4) + VOLUME.tobytes(order="F"))
    image = read_image(path)
    np.testing.assert_array_equal(image.in_source_axes(image.data), VOLUME)
    assert len(image.notes) == bool(note)
    assert re.search(note, "".join(image.notes))
    assert read_grid(path).same_as(image.grid, 1e-6)
    itk = sitk.ReadImage(str(path))
    np.testing.assert_allclose(itk.GetSpacing(), image.source.spacing, rtol=1e-5)
    origin = np.array([-1, -1, 1]) * itk.GetOrigin()
    np.testing.assert_allclose(image.source.affine[:3, 3], origin, atol=1e-4)
    if note.startswith("negative"):  # ITK mirrors that axis; nibabel does not, nor does nifti1.h know of it
        np.testing.assert_allclose(image.source.affine, AFFINE, atol=1e-4)
        return
    directions = np.array(itk.GetDirection()).reshape(3, 3) * [[-1], [-1], [1]]
    np.testing.assert_allclose(image.source.affine[:3, :3] / image.source.spacing, directions, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set(quatern_b=0.9, quatern_c=0.9), "w2 should be positive"),
        (_set(magic=b""), "Analyze 7.5"),
        (_pixdim(2, 0), "finite voxel size above 0"),
        (_set(sform_code=1, qform_code=0), "finite voxel size above 0"),
        (_set(datatype=999), "unknown data type 999"),
    ],
)
def test_nifti_headers_that_mean_nothing(
    tmp_path: Path, header: Any, change: Callable[[Any], None], why: str
) -> None:
    change(header)
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4) + VOLUME.tobytes(order="F"))
    with pytest.raises(UnreadableImage, match=why):
        read_image(tmp_path / "a.nii")


@pytest.mark.parametrize("names", [("a.hdr.gz", "a.img.gz"), ("a.hdr", "a.img.gz"), ("A.HDR.GZ", "A.IMG.GZ")])
def test_packed_pairs(tmp_path: Path, names: tuple[str, str]) -> None:
    nib.save(nib.Nifti1Pair(VOLUME, AFFINE), tmp_path / "whole.hdr")
    for name, kind in zip(names, ("hdr", "img"), strict=True):
        content = (tmp_path / f"whole.{kind}").read_bytes()
        packed = gzip.compress(content) if name.lower().endswith(".gz") else content
        (tmp_path / name).write_bytes(packed)
    expected = read_image(tmp_path / "whole.hdr")
    for name in names:
        np.testing.assert_array_equal(read_image(tmp_path / name).data, expected.data)
        assert read_grid(tmp_path / name).same_as(expected.grid)
        assert [file.name for file in image_files(tmp_path / name)] == list(names)
    content = (tmp_path / names[1]).read_bytes()
    (tmp_path / names[1]).write_bytes(content[:-12] + b"\1" + content[-11:])
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(tmp_path / names[0])


NRRD = "NRRD0004\ntype: short\ndimension: {}\nspace: {}\nsizes: {}\nspace directions: {}\nendian: little\n"
GRID = "(0.5,0,0) (0,0.4,0) (0,0,0.7)"


def _nrrd(
    lines: str = "encoding: raw", shape: str = "6 7 5", vectors: str = GRID, space: str = "LPS"
) -> bytes:
    header = NRRD.format(len(shape.split()), space, shape, vectors)
    return f"{header}space origin: (1,2,3{',0' if 'time' in space else ''})\n{lines}\n\n".encode()


RAW = VOLUME.tobytes(order="F")
TIMED = "(0.5,0,0,0) (0,0.4,0,0) (0,0,0.7,0) (0,0,0,1)"
READ = {
    "one channel first": _nrrd(
        "encoding: raw\nkinds: vector domain domain domain", "1 6 7 5", f"none {GRID}"
    ),
    "one channel last": _nrrd("encoding: raw\nkinds: domain domain domain list", "6 7 5 1", f"{GRID} none"),
    "one time point": _nrrd(shape="6 7 5 1", vectors=TIMED, space="left-posterior-superior-time"),
    "byte order mark": b"\xef\xbb\xbf" + _nrrd(),
}
TEXT = " ".join(map(str, VOLUME.ravel(order="F"))).encode()
PACKED = {
    "ascii": (TEXT + b"\n", TEXT[:-1]),
    "hex": (RAW.hex().encode(), RAW.hex().encode()[:-1]),
    "bzip2": (bz2.compress(RAW[:100]) + bz2.compress(RAW[100:]), bz2.compress(RAW)[:-1]),
}


def _check(path: Path) -> None:
    image = read_image(path)
    np.testing.assert_array_equal(image.in_source_axes(image.data), VOLUME)
    np.testing.assert_allclose(image.source.affine, np.diag([-0.5, -0.4, 0.7, 1]) + _moved(), atol=1e-6)
    assert image.notes == ()
    assert read_grid(path).same_as(image.grid)


def _moved() -> np.ndarray:
    return np.array([[0.0, 0, 0, -1], [0, 0, 0, -2], [0, 0, 0, 3], [0, 0, 0, 0]])


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_nrrd_headers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nrrd").write_bytes(content + RAW)
    _check(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(content + RAW[:-1])
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(tmp_path / "a.nrrd")


@pytest.mark.parametrize("encoding", PACKED)
def test_nrrd_encodings(tmp_path: Path, encoding: str) -> None:
    whole, cut = PACKED[encoding]
    (tmp_path / "a.nrrd").write_bytes(_nrrd(f"encoding: {encoding}") + whole)
    _check(tmp_path / "a.nrrd")
    for bad in (cut, whole + b" 7\n", b"x" + whole[1:], b"70000" + whole[3:]):
        (tmp_path / "a.nrrd").write_bytes(_nrrd(f"encoding: {encoding}") + bad)
        with pytest.raises(UnreadableImage, match="truncated or damaged"):
            read_image(tmp_path / "a.nrrd") if encoding != "bzip2" or bad != whole + b" 7\n" else _fail()


def _fail() -> None:
    raise UnreadableImage("truncated or damaged")  # bytes behind bzip2's checksum are passed over


def test_two_channels_are_refused(tmp_path: Path) -> None:
    content = _nrrd("encoding: raw\nkinds: vector domain domain domain", "2 6 7 5", f"none {GRID}")
    (tmp_path / "a.nrrd").write_bytes(content + RAW * 2)
    with pytest.raises(UnreadableImage, match=r"expected one number per voxel, got 2 \(vector\)"):
        read_image(tmp_path / "a.nrrd")


META = (
    "ObjectType = Image\nNDims = 3\nDimSize = 6 7 5\nOffset = 1 2 3\nElementSpacing = 0.5 0.4 0.7\n"
    "ElementType = MET_SHORT\n{}ElementDataFile = {}\n"
)
SEVERAL = {
    "list.nhdr": _nrrd("encoding: raw\ndata file: LIST\nsl/1.raw\nsl/2.raw\nsl/3.raw\nsl/4.raw\nsl/5.raw"),
    "pattern.nhdr": _nrrd("encoding: raw\ndata file: sl/%d.raw 1 5 1"),
    "list.mhd": META.format("", "LIST\nsl/1.raw\nsl/2.raw\nsl/3.raw\nsl/4.raw\nsl/5.raw").encode(),
    "pattern.mhd": META.format("", "sl/%01d.raw 1 5 1").encode(),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_file_for_each_slice(tmp_path: Path, name: str) -> None:
    (tmp_path / "sl").mkdir()
    for number in range(5):
        content = VOLUME[..., number].tobytes(order="F")
        (tmp_path / "sl" / f"{number + 1}.raw").write_bytes(content)
    (tmp_path / name).write_bytes(SEVERAL[name])
    _check(tmp_path / name)
    assert [file.name for file in image_files(tmp_path / name)] == [name, *(f"{n}.raw" for n in range(1, 6))]
    (tmp_path / "sl" / "3.raw").write_bytes(RAW[:60])
    with pytest.raises(UnreadableImage, match=r"84 bytes in each of 5 files, got 60 in sl/3\.raw"):
        read_image(tmp_path / name)
    (tmp_path / "sl" / "3.raw").unlink()
    with pytest.raises(UnreadableImage, match=r"3\.raw', which does not exist"):
        read_image(tmp_path / name)
    (tmp_path / name).write_bytes(SEVERAL[name].replace(b"sl/", b"../sl/"))
    with pytest.raises(UnreadableImage, match="outside of its folder"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    "pattern", ["%s.raw 1 5 1", "%99999999d.raw 1 5 1", "a%d%d.raw 1 5 1", "%d.raw 1 5 0"]
)
@pytest.mark.parametrize("kind", ["nhdr", "mhd"])
def test_patterns_that_are_none(tmp_path: Path, pattern: str, kind: str) -> None:
    path = tmp_path / f"pattern.{kind}"
    path.write_bytes(SEVERAL[path.name].replace(b"sl/%d.raw 1 5 1", pattern.encode()))
    path.write_bytes(path.read_bytes().replace(b"sl/%01d.raw 1 5 1", pattern.encode()))
    with pytest.raises(UnreadableImage, match="expected a pattern of files"):
        read_image(path)


def test_metaimage_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(META.format("BinaryData = False\n", "LOCAL").encode() + TEXT + b"\n")
    _check(path)
    unspaced = META.format("", "LOCAL").replace("ElementSpacing = 0.5 0.4 0.7\n", "").encode()
    path.write_bytes(unspaced + RAW)
    image = read_image(path)
    assert image.notes == ("its header has no spacing of the voxels: 1 mm is assumed",)
    assert image.grid.spacing == (1, 1, 1)


def _nii(header: Any) -> bytes:
    return bytes(header.binaryblock) + bytes(4) + RAW


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("tail", [b"\n", bytes(512), b"any other bytes"], ids=["line", "zeros", "bytes"])
def test_bytes_that_follow(tmp_path: Path, header: Any, name: str, tail: bytes) -> None:
    content = {"nii": _nii(header), "nrrd": _nrrd() + RAW, "mha": META.format("", "LOCAL").encode() + RAW}
    whole = content[name.split(".")[1]] + tail
    (tmp_path / name).write_bytes(gzip.compress(whole) if name.endswith("gz") else whole)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.in_source_axes(image.data), VOLUME)
    assert image.notes == (f"{len(tail)} bytes that follow its voxels were passed over",)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_voxels_that_follow_are_refused(tmp_path: Path, header: Any, name: str) -> None:
    """A header with one wrong number (an axis, the type, an offset) leaves voxels behind."""
    content = {"nii": _nii(header), "nrrd": _nrrd() + RAW, "mha": META.format("", "LOCAL").encode() + RAW}
    for count in (60, 70, 84, 210):
        whole = content[name.split(".")[1]] + b"v" * count
        (tmp_path / name).write_bytes(gzip.compress(whole) if name.endswith("gz") else whole)
        with pytest.raises(UnreadableImage, match=f"{count} bytes follow its voxels.*--insist tail"):
            read_image(tmp_path / name)
        image = read_image(tmp_path / name, ("tail",))
        np.testing.assert_array_equal(image.in_source_axes(image.data), VOLUME)
        assert image.notes[0].startswith(f"read although {count} bytes follow its voxels")


@pytest.mark.parametrize(("name", "line"), [("a.nrrd", "PatientName: X"), ("a.mha", "PatientName = X")])
def test_fields_of_others_are_passed_over_on_request(tmp_path: Path, name: str, line: str) -> None:
    content = {
        "a.nrrd": _nrrd(f"encoding: raw\n{line}"),
        "a.mha": META.format(f"{line}\n" * 2, "LOCAL").encode(),
    }
    (tmp_path / name).write_bytes(content[name] + RAW)
    with pytest.raises(UnreadableImage, match=r"field 'PatientName' in its header .*--insist fields"):
        read_image(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name, ("fields",)).data, VOLUME[::-1, ::-1])
    (tmp_path / name).write_bytes(content[name] + RAW[:-1])
    with pytest.raises(UnreadableImage, match="truncated or damaged"):
        read_image(tmp_path / name, ("fields",))
