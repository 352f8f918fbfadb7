"""Headers beside their voxels: both files decide what an image is, wherever it is remembered."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from oahier.audit.facts_store import files_key
from oahier.data import KneeCache, read_manifest
from oahier.data.cache.entry import read_entry
from oahier.data.preprocessing import Preprocessing
from oahier.images import image_files
from oahier.intake import Candidate, finish_import
from oahier.prediction.inputs import Scan

SMALL = Preprocessing((6, 6, 6), (1.0, 1.0, 1.0))
HEADERS = ["image.mhd", "image.nhdr", "image.hdr"]


def save(folder: Path, name: str, seed: int) -> Path:
    """A volume of its own in two files whose header is always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 900, (6, 6, 6)).astype(np.int16)
    if name.endswith(".hdr"):
        nib.save(nib.Nifti1Pair(voxels, np.eye(4)), folder / name)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / name))
    return folder / name


def table(folder: Path, images: list[Path]) -> Path:
    rows = [f"{path.parent.name},s{number},{path},{number}" for number, path in enumerate(images)]
    (folder / "knees.csv").write_text("\n".join(["knee,subject,mri,kl", *rows]))
    return folder / "knees.csv"


@pytest.mark.parametrize("name", HEADERS)
def test_both_files_are_found(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, name, 0)
    voxels = next(other for other in tmp_path.iterdir() if other != path)
    (tmp_path / "image.txt").write_text("a note beside it")
    assert [file.resolve() for file in image_files(path)] == [path, voxels]
    if name.endswith(".hdr"):
        assert image_files(voxels) == (path, voxels)


def test_one_file_and_folders(tmp_path: Path) -> None:
    for name in ("knee.nii.gz", "knee.mha", "knee.nrrd"):
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(tmp_path / name))
        assert image_files(tmp_path / name) == (tmp_path / name,)
    for name in ("series/2", "series/10", "series/below/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert image_files(tmp_path / "series") == (tmp_path / "series/10", tmp_path / "series/2")


def test_a_long_header_and_what_cannot_be_read(tmp_path: Path) -> None:
    path = save(tmp_path, "image.nhdr", 0)
    path.write_text(path.read_text().replace("type:", "# " + "x" * 10_000 + "\ntype:", 1))
    assert [file.name for file in image_files(path)] == ["image.nhdr", "image.raw"]
    (tmp_path / "image.raw").unlink()
    assert image_files(path) == (path,)
    for name in ("none.mhd", "none.img", "none.nii"):
        assert image_files(tmp_path / name) == (tmp_path / name,)
    (tmp_path / "bad.mhd").write_bytes(b"ElementDataFile = ../outside.raw\n")
    assert image_files(tmp_path / "bad.mhd") == (tmp_path / "bad.mhd",)


@pytest.mark.parametrize("name", HEADERS)
def test_equal_headers_are_different_knees(tmp_path: Path, name: str) -> None:
    images = [save(tmp_path / folder, name, seed) for seed, folder in enumerate("ab")]
    manifest = read_manifest(table(tmp_path, images))
    first, second = KneeCache(tmp_path / "cache").build(manifest, SMALL)
    assert first != second
    assert not np.array_equal(read_entry(first).mri, read_entry(second).mri)
    again = KneeCache(tmp_path / "cache").plan(manifest, SMALL)
    assert again.jobs == []
    assert files_key((images[0], None)) != files_key((images[1], None))


@pytest.mark.parametrize("name", HEADERS)
def test_replaced_voxels_are_another_image(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a", name, 0)
    manifest = read_manifest(table(tmp_path, [path]))
    old, facts = KneeCache(tmp_path / "cache").build(manifest, SMALL), files_key((path, None))
    voxels = image_files(path)[1]
    voxels.write_bytes(voxels.read_bytes()[::-1])
    os.utime(voxels, ns=(0, voxels.stat().st_mtime_ns + 1_000_000))
    assert KneeCache(tmp_path / "cache").build(manifest, SMALL) != old
    assert files_key((path, None)) != facts
    assert set(Scan("a", str(path), path, cartilage=path).files) == {path, voxels}


@pytest.mark.parametrize("name", HEADERS)
def test_repaired_voxels_are_imported(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a", name, 0)
    voxels = image_files(path)[1]
    whole = voxels.read_bytes()
    candidate = Candidate("1-right", "1", "right", "", path)

    def run(content: bytes) -> list[str]:
        voxels.write_bytes(content)
        result = finish_import(
            tmp_path / "dest", [candidate], [], importer="test", source=tmp_path, progress=False
        )
        return [item.reason for item in result.left_out] or result.manifest.table["source_hash"].tolist()

    with pytest.raises(ValueError, match=r"truncated|no knee|left out"):
        run(whole[:-8])
    first = run(whole)
    assert len(first[0]) == 64
    assert run(whole[::-1]) != first
