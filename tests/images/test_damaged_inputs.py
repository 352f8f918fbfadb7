"""Damaged files of every kind: refused by name, or read as they were; never a bare traceback.

What can be seen depends on the format. A checksum (gzip, zlib, bzip2) covers the voxels of compressed files,
and for ``.nii.gz`` the header too: any flip is noticed. Formats without one (``.nii``, raw NRRD and
MetaImage, DICOM) cannot show that a voxel changed, so there only headers are flipped; and where a flip leaves
a valid header with another geometry (a 5 that became a 4), nobody can tell. What must hold then is that
voxels and header still fit each other and every number is finite.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import re
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from miniature.damage import OTHERS, SEEN, Damage, appended, cut_inside, flipped, quick, truncated
from miniature.dicom import write_dicom_series

from oahier.images import Image, UnreadableImage, read_grid, read_image
from oahier.images.dicom import find_series, header_side

AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.15) @ np.array([[0, 0, 2.0], [-1.5, 0, 0], [0, -0.8, 0]]),
    [-31, 17, 5],
)
VOLUME = np.random.default_rng(0).integers(1, 900, (6, 7, 5)).astype(np.int16)


def save(path: Path) -> Path:
    """The volume in the format of the name; gives the file that holds the voxels."""
    import SimpleITK as sitk

    if path.name.endswith((".nii", ".nii.gz", ".img")):
        kind = nib.Nifti1Pair if path.suffix == ".img" else nib.Nifti1Image
        nib.save(kind(VOLUME, AFFINE), path)
        return path
    source = path.with_name("source.nii")
    nib.save(nib.Nifti1Image(VOLUME, AFFINE), source)
    packed = "packed" in path.name
    image = sitk.ReadImage(str(source))
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    sitk.WriteImage(image, str(path), packed)
    source.unlink()
    return path


def check(path: Path, expected: Image, *, exact: bool) -> bool:
    """Read a file that may be damaged; True if it was refused with a message that names it."""
    with contextlib.suppress(UnreadableImage):
        read_grid(path)
    assert header_side(path) in ("left", "right", "")
    refusal, image = None, expected
    try:
        image = read_image(path)
    except UnreadableImage as error:
        refusal = str(error)
    if refusal is not None:
        assert path.stem.split(".")[0] in refusal
        assert "\n" not in refusal.split("choose with")[0]
        return True
    assert image.data.shape == image.grid.shape
    assert np.isfinite(image.grid.affine).all()
    if exact:
        assert image.data.dtype == expected.data.dtype
        np.testing.assert_array_equal(image.data, expected.data)
        np.testing.assert_allclose(image.grid.affine, expected.grid.affine, atol=1e-6)
    else:
        assert image.data.size * image.data.itemsize <= 8 * VOLUME.nbytes
    return False


@contextlib.contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(shutil.copytree(folder, Path(temporary, "files")))


def damage(folder: Path, name: str, change: Damage, read: str, *, exact: bool) -> bool:
    """Damage a file of a folder in a copy, then read: refused, or fine."""
    expected = read_image(folder / read)
    with copy_of(folder) as copy:
        changed = change((copy / name).read_bytes())
        assume(changed != (folder / name).read_bytes())
        (copy / name).write_bytes(changed)
        return check(copy / read, expected, exact=exact)


@quick(40)
@given(change=st.one_of(SEEN, flipped(), appended()))
def test_nifti_with_a_checksum(tmp_path: Path, change: Damage) -> None:
    path = tmp_path / "knee.nii.gz"
    if not path.exists():
        save(path)
    damage(tmp_path, path.name, change, path.name, exact=True)


def behind_header(content: bytes) -> int:
    """Where the voxels of a NRRD or MetaImage file start."""
    for mark in (rb"\n\n", rb"ElementDataFile = LOCAL\r?\n"):
        found = re.search(mark, content)
        if found and content[:4] in (b"NRRD", b"Obje"):
            return found.end()
    return 0


@quick(25)
@pytest.mark.parametrize("name", ["knee-packed.mha", "knee-packed.nrrd"])
@given(change=st.one_of(truncated(), cut_inside(), flipped(), appended()))
def test_compressed_voxels(tmp_path: Path, name: str, change: Damage) -> None:
    """Their checksum covers the voxels: the damage is done behind the header."""
    if not (tmp_path / name).exists():
        save(tmp_path / name)

    def inside(content: bytes) -> bytes:
        start = behind_header(content)
        assert start > 100
        return content[:start] + change(content[start:])

    damage(tmp_path, name, inside, name, exact=True)


@quick(25)
@pytest.mark.parametrize("name", ["knee.nii", "knee.nrrd", "knee.mha"])
@given(change=st.one_of(SEEN, appended()))
def test_lengths_without_a_checksum(tmp_path: Path, name: str, change: Damage) -> None:
    """Truncated or another kind of file: always refused; longer: read as it was, with a note."""
    if not (tmp_path / name).exists():
        save(tmp_path / name)
    original = (tmp_path / name).read_bytes()
    changed = change(original)
    longer = len(changed) > len(original) and changed.startswith(original)
    refused = damage(tmp_path, name, change, name, exact=longer)
    assert refused != longer or _cut_in_text(original, changed)
    if longer:
        (tmp_path / f"longer-{name}").write_bytes(changed)
        notes = read_image(tmp_path / f"longer-{name}").notes
        assert f"{len(changed) - len(original)} bytes that follow its voxels were passed over" in notes


def _cut_in_text(original: bytes, changed: bytes) -> bool:
    """Bytes lost in the middle of a header without checksum may leave a header that means something else."""
    return changed[-100:] == original[-100:] and len(changed) > 0.5 * len(original)


HEADERS = {
    "knee.nii": ("knee.nii", 352),
    "knee.nrrd": ("knee.nrrd", 0),
    "knee.mha": ("knee.mha", 0),
    "knee.mhd": ("knee.mhd", 0),
    "knee.nhdr": ("knee.nhdr", 0),
    "knee.hdr": ("knee.img", 348),
}


@quick(30)
@pytest.mark.parametrize("name", HEADERS)
@given(change=flipped())
def test_flipped_headers_without_a_checksum(tmp_path: Path, name: str, change: Damage) -> None:
    made, length = HEADERS[name]
    if not (tmp_path / name).exists():
        save(tmp_path / made)

    def in_header(content: bytes) -> bytes:
        end = length or behind_header(content) or len(content)
        return change(content[:end]) + content[end:]

    damage(tmp_path, name, in_header, made, exact=False)


@quick(15)
@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        ("knee.mhd", "knee.raw"),
        ("knee-packed.mhd", "knee-packed.zraw"),
        ("knee.nhdr", "knee.raw"),
        ("knee-packed.nhdr", "knee-packed.raw.gz"),
    ],
)
@given(change=st.one_of(truncated(), appended(), OTHERS))
def test_voxels_beside_a_header(tmp_path: Path, header: str, voxels: str, change: Damage) -> None:
    if not (tmp_path / header).exists():
        save(tmp_path / header)
    original = (tmp_path / voxels).read_bytes()
    longer = change(original).startswith(original)
    assert damage(tmp_path, voxels, change, header, exact=True) != longer


@pytest.mark.parametrize("header", ["knee.mhd", "knee.nhdr"])
@pytest.mark.parametrize(
    "name", ["../secret.raw", "/etc/hostname", "..\\secret.raw", "link.raw", ".", "gone.raw", "a\0b"]
)
def test_data_files_outside_of_the_folder(tmp_path: Path, header: str, name: str) -> None:
    (tmp_path / "inside").mkdir()
    path = save(tmp_path / "inside" / header)
    shutil.copy(tmp_path / "inside" / "knee.raw", tmp_path / "secret.raw")
    (tmp_path / "inside" / "link.raw").symlink_to(tmp_path / "secret.raw")
    path.write_bytes(path.read_bytes().replace(b"knee.raw", name.encode()))
    with pytest.raises(
        UnreadableImage, match=rf"{header}.*(outside of its folder|exist|cannot be read|impossible)"
    ):
        read_image(path)


@pytest.mark.parametrize("count", [40_000, 2**31 - 1, 2**62])
def test_absurd_sizes_allocate_nothing(tmp_path: Path, count: int) -> None:
    sizes = f"{count} {count} 400".encode()
    for name, old in {
        "knee.mha": b"DimSize = 6 7 5",
        "knee-packed.mha": b"DimSize = 6 7 5",
        "knee.nrrd": b"sizes: 6 7 5",
    }.items():
        path = save(tmp_path / name)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, old.split(b"6")[0] + sizes))
    image = nib.Nifti1Image(VOLUME, AFFINE)
    image.header["dim"][1:4] = (32767, 32767, min(count, 32767))
    image.header["vox_offset"] = 352
    (tmp_path / "knee.nii").write_bytes(image.header.binaryblock + bytes(4) + VOLUME.tobytes())
    (tmp_path / "knee.nii.gz").write_bytes(gzip.compress((tmp_path / "knee.nii").read_bytes()))
    tracemalloc.start()
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UnreadableImage, match=r"asks for \d+ bytes"):
            read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = save(tmp_path / "knee.nii")
    bomb = gzip.compress(path.read_bytes() + bytes(300 << 20))
    (tmp_path / "bomb.nii.gz").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(UnreadableImage, match=r"bomb.*more than the \d+ bytes that the header says"):
        read_image(tmp_path / "bomb.nii.gz")
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


@quick(15)
@given(change=st.one_of(truncated(), flipped(), appended()))
def test_bzip2(tmp_path: Path, change: Damage) -> None:
    path = tmp_path / "knee.nrrd"
    if not path.exists():
        content = save(path).read_bytes()
        start = behind_header(content)
        header = content[:start].replace(b"encoding: raw", b"encoding: bzip2")
        path.write_bytes(header + bz2.compress(content[start:]))

    def inside(content: bytes) -> bytes:
        start = behind_header(content)
        return content[:start] + change(content[start:])

    damage(tmp_path, path.name, inside, path.name, exact=True)


@quick(10)
@given(
    wrong=st.permutations([".nii", ".nii.gz", ".nrrd", ".mha", ".dcm", ".txt", ".zip", ""]), data=st.data()
)
def test_renamed_files(tmp_path: Path, wrong: list[str], data: st.DataObject) -> None:
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        if not (tmp_path / f"knee{suffix}").exists():
            save(tmp_path / f"knee{suffix}")
    source = data.draw(st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha"]))
    expected = read_image(tmp_path / f"knee{source}")
    with tempfile.TemporaryDirectory() as temporary:
        for suffix in wrong:
            path = Path(temporary, f"knee{suffix}")
            shutil.copy(tmp_path / f"knee{source}", path)
            refused = check(path, expected, exact=True)
            assert refused or {source, suffix} <= {".nii", ".nii.gz"} or source == suffix


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom") / "series"
    write_dicom_series(folder, VOLUME, AFFINE)
    return folder


@quick(40)
@given(change=st.one_of(truncated(), OTHERS), number=st.integers(1, 5))
def test_a_dicom_series_with_a_damaged_file(dicom: Path, change: Damage, number: int) -> None:
    with copy_of(dicom.parent) as copy:
        path = copy / "series" / f"{number:03d}"
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(UnreadableImage, match=f"series.*{number:03d}"):
            read_image(copy / "series")
        for series in find_series(copy):
            assert series.problems


@quick(40)
@given(change=flipped(), number=st.integers(1, 5))
def test_a_dicom_series_with_a_flipped_header(dicom: Path, change: Damage, number: int) -> None:
    expected = read_image(dicom)
    with copy_of(dicom.parent) as copy:
        path = copy / "series" / f"{number:03d}"
        content = path.read_bytes()
        end = len(content) - 2 * VOLUME[:, :, 0].size
        path.write_bytes(change(content[:end]) + content[end:])
        check(copy / "series", expected, exact=False)


def test_nothing_is_printed(tmp_path: Path, dicom: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither by ITK, which prints past Python, nor by pydicom and nibabel."""
    for name in ("knee.nii", "knee.nii.gz", "knee.nrrd", "knee-packed.mha"):
        content = save(tmp_path / name).read_bytes()
        capfd.readouterr()
        for changed in (content[:-20], content[:200], content[:-9] + b"x" * 9, b""):
            (tmp_path / name).write_bytes(changed)
            with contextlib.suppress(UnreadableImage):
                read_image(tmp_path / name)
    shutil.copytree(dicom, tmp_path / "series")
    content = (tmp_path / "series" / "003").read_bytes()
    for changed in (content[:-20], content[:400], content[:500] + b"x" * 9 + content[509:]):
        (tmp_path / "series" / "003").write_bytes(changed)
        with pytest.raises(UnreadableImage):
            read_image(tmp_path / "series")
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
