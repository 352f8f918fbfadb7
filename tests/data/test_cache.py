from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oahier.data import CacheError, KneeCache, ManifestError, read_manifest
from oahier.data.entry import HEADER_BYTES, DamagedEntry, read_entry, verify_entry
from oahier.data.preprocessing import Preprocessing
from oahier.data.sources import Sources

SMALL = Preprocessing((8, 10, 12), (2.0, 1.5, 1.0))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def content(entry: Path) -> tuple[np.ndarray, np.ndarray | None]:
    read = read_entry(entry)
    return np.array(read.mri), None if read.cartilage is None else np.array(read.cartilage)


def test_entries_are_made_once_and_read_back(knees: Path, tmp_path: Path) -> None:
    manifest = read_manifest(knees)
    entries = KneeCache(tmp_path).build(manifest, SMALL)
    assert len(set(entries)) == len(manifest)
    entry = read_entry(entries[3])
    assert entry.mri.shape == (8, 10, 12)
    assert entry.mri.dtype == np.float16
    assert entry.cartilage is not None
    assert set(np.unique(entry.cartilage)) == {0, 2}
    assert entry.mri[entry.cartilage == 2].mean() > 2
    assert entry.affine.shape == (4, 4)
    stamps = [path.stat().st_ino for path in entries]
    assert KneeCache(tmp_path).build(manifest, SMALL) == entries
    assert [path.stat().st_ino for path in entries] == stamps
    assert (tmp_path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_worker_processes_make_the_same_entries(knees: Path, tmp_path: Path) -> None:
    manifest = read_manifest(knees)
    alone = KneeCache(tmp_path / "a").build(manifest, SMALL)
    together = KneeCache(tmp_path / "b").build(manifest, SMALL, num_workers=2)
    for one, other in zip(alone, together, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(content(one)[0], content(other)[0])


def test_another_source_or_parameter_is_another_entry(
    some_knees: Callable[..., Path], tmp_path: Path
) -> None:
    path = some_knees(2)
    cache = KneeCache(tmp_path / "cache")
    first = cache.build(read_manifest(path), SMALL)
    assert set(cache.build(read_manifest(path), Preprocessing(SMALL.shape, (2.0, 1.5, 1.1)))).isdisjoint(
        first
    )
    image = nib.load(path.parent / "001.nii.gz")
    nib.save(
        nib.Nifti1Image(image.get_fdata().astype(np.float32) + 1, image.affine), path.parent / "001.nii.gz"
    )
    second = KneeCache(tmp_path / "cache").build(read_manifest(path), SMALL)
    assert second[0] == first[0]
    assert second[1] != first[1]


def test_hashes_are_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0.dcm").write_bytes(b"slice")
    sources = Sources(tmp_path)
    first = sources.content_hash(tmp_path / "a")
    series = sources.content_hash(tmp_path / "folder")
    sources.save()
    with monkeypatch.context() as patch:
        patch.setattr("oahier.data.sources._hash", lambda path: pytest.fail(f"{path} is read again"))
        assert Sources(tmp_path).content_hash(tmp_path / "a") == first
        assert Sources(tmp_path).content_hash(tmp_path / "folder") == series
    (tmp_path / "a").write_bytes(b"two!")
    (tmp_path / "folder" / "1.dcm").write_bytes(b"slice")
    assert Sources(tmp_path).content_hash(tmp_path / "a") != first
    assert Sources(tmp_path).content_hash(tmp_path / "folder") != series
    (tmp_path / "sources.json").write_text("{half")
    assert Sources(tmp_path).content_hash(tmp_path / "a")


@pytest.mark.parametrize("damage", ["truncated", "empty", "voxel", "header", "magic"])
def test_a_damaged_entry_is_rebuilt(
    knees: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = read_manifest(knees)
    entry = KneeCache(tmp_path).build(manifest, SMALL)[5]
    before = content(entry)
    whole = entry.read_bytes()
    broken = bytearray(whole)
    position = {"voxel": HEADER_BYTES + 77, "header": 60, "magic": 3}.get(damage)
    if position is None:
        broken = broken[: {"truncated": len(whole) - 9, "empty": 0}[damage]]
    else:
        broken[position] ^= 1
    entry.write_bytes(broken)
    with pytest.raises(DamagedEntry, match=entry.name):
        verify_entry(entry)
    with caplog.at_level(logging.WARNING):
        KneeCache(tmp_path).build(manifest, SMALL)
    assert "cache entry is rebuilt" in caplog.text
    assert entry.name in caplog.text
    np.testing.assert_array_equal(content(entry)[0], before[0])
    verify_entry(entry)


def test_a_copied_cache_is_checked_once_and_trusted(knees: Path, tmp_path: Path) -> None:
    manifest = read_manifest(knees)
    entries = KneeCache(tmp_path / "a").build(manifest, SMALL)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    copied = KneeCache(tmp_path / "b").build(manifest, SMALL)
    assert [path.name for path in copied] == [path.name for path in entries]
    assert [path.stat().st_mtime_ns for path in copied] == [path.stat().st_mtime_ns for path in entries]


def test_a_damaged_entry_whose_source_is_gone(some_knees: Callable[..., Path], tmp_path: Path) -> None:
    path = some_knees(2)
    manifest = read_manifest(path)
    entry = KneeCache(tmp_path / "cache").build(manifest, SMALL)[1]
    entry.write_bytes(b"")
    (path.parent / "001.nii.gz").unlink()
    with pytest.raises(ManifestError, match=r"row 3, knee '001', column 'mri': missing file .*001\.nii\.gz"):
        KneeCache(tmp_path / "cache").build(manifest, SMALL)


def test_a_full_disk_leaves_no_half_entry(
    some_knees: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(some_knees(2))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CacheError, match=r"No space left on device.*OAHIER_CACHE"):
            KneeCache(tmp_path / "cache").build(manifest, SMALL)
    assert not [path for path in files(tmp_path / "cache") if path.suffix == ".knee"]
    assert len(KneeCache(tmp_path / "cache").build(manifest, SMALL)) == 2


def test_a_folder_that_cannot_be_made(knees: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"file.cache: .*Not a directory.*choose another folder"):
        KneeCache(tmp_path / "file" / "cache").build(read_manifest(knees), SMALL)


def _build(manifest: Path, folder: Path) -> None:
    for entry in KneeCache(folder).build(read_manifest(manifest), SMALL):
        verify_entry(entry)


def test_two_processes_build_at_once(knees: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_build, args=(knees, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    entries = [path for path in files(tmp_path) if path.suffix == ".knee"]
    assert len(entries) == len(read_manifest(knees))
    assert not [path for path in files(tmp_path) if path.name.startswith(".") and path.suffix == ".knee"]
    for entry in entries:
        verify_entry(entry)


def test_bad_files_are_named_all_at_once(some_knees: Callable[..., Path], tmp_path: Path) -> None:
    path = some_knees(6)
    folder = path.parent
    volume = nib.load(folder / "001.nii.gz").get_fdata().astype(np.float32)
    volume[2, 3, 4] = np.nan
    nib.save(nib.Nifti1Image(volume, np.diag([-2.0, 1.5, 1, 1])), folder / "001.nii.gz")
    (folder / "003.nii.gz").write_bytes((folder / "003.nii.gz").read_bytes()[:900])
    nib.save(nib.Nifti1Image(np.zeros((12, 16, 21), np.uint8) + 2, np.eye(4)), folder / "004-labels.nii.gz")
    with pytest.raises(ManifestError) as caught:
        KneeCache(tmp_path / "cache").build(read_manifest(path), SMALL)
    problems = caught.value.problems
    assert [(problem.row, problem.column) for problem in problems] == [
        (3, "mri"),
        (5, "mri"),
        (6, "cartilage"),
    ]
    assert "1 NaN or infinite voxels" in problems[0].message
    assert "003.nii.gz is truncated" in problems[1].message
    assert "mask of another grid" in problems[2].message
    good = [entry for entry in files(tmp_path / "cache") if entry.suffix == ".knee"]
    assert len(good) == 3


def test_common_spacing_fits_the_median_field_of_view(knees: Path, tmp_path: Path) -> None:
    cache = KneeCache(tmp_path)
    manifest = read_manifest(knees)
    assert cache.common_spacing(manifest, (8, 8, 10)) == (3.0, 3.0, 2.0)
    assert cache.common_spacing(manifest, (12, 16, 20)) == (2.0, 1.5, 1.0)
