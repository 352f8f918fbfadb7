"""What the cache does when entries, sources, the disk or a process fail."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from miniature.entries import SMALL, content, files

from oahier.data import CacheError, KneeCache, ManifestError, read_manifest
from oahier.data.cache.entry import HEADER_BYTES, DamagedEntry, verify_entry
from oahier.files import write_atomically


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


def test_every_missing_file_is_named(some_knees: Callable[..., Path], tmp_path: Path) -> None:
    path = some_knees(4)
    manifest = read_manifest(path)
    for name in ("001.nii.gz", "003.nii.gz", "002-labels.nii.gz"):
        (path.parent / name).unlink()
    with pytest.raises(ManifestError) as caught:
        KneeCache(tmp_path / "cache").build(manifest, SMALL)
    found = [(problem.row, problem.column) for problem in caught.value.problems]
    assert found == [(3, "mri"), (5, "mri"), (4, "cartilage")]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("column", ["mri", "cartilage"])
def test_a_source_that_changes_while_it_is_read(
    some_knees: Callable[..., Path], tmp_path: Path, column: str
) -> None:
    """No entry is named by a content that it does not have."""
    path = some_knees(3)
    manifest, cache = read_manifest(path), KneeCache(tmp_path / "cache")
    plan = cache.plan(manifest, SMALL)
    changed = manifest.file(1, column)
    assert changed is not None
    shutil.copyfile(path.parent / changed.name.replace("001", "002"), changed)
    with pytest.raises(ManifestError, match=rf"row 3, .*'{column}': .* was changed while it was read"):
        cache.make(manifest, plan)
    assert not plan.entries[1].exists()
    assert len(KneeCache(tmp_path / "cache").build(manifest, SMALL)) == 3


def test_a_worker_that_is_killed(
    some_knees: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, knee: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("oahier.data.cache.cache.write_entry", killed)
    with pytest.raises(CacheError, match="a process was killed, perhaps for its memory: use fewer"):
        KneeCache(tmp_path / "cache").build(read_manifest(some_knees(3)), SMALL, num_workers=1)


def test_a_knee_that_memory_cannot_hold(
    some_knees: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("oahier.data.cache.cache.preprocess", starved)
    with pytest.raises(ManifestError, match=r"row 2, .*not enough memory; use fewer processes"):
        KneeCache(tmp_path / "cache").build(read_manifest(some_knees(3)), SMALL)


def test_a_shared_cache_that_cannot_be_written(
    some_knees: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read, and hashes are remembered in the user's own folder."""
    manifest = read_manifest(some_knees(3))
    built = KneeCache(tmp_path / "cache").build(manifest, SMALL)
    (tmp_path / "cache" / "sources.json").unlink()

    def refusing(path: Path | str, content: Any) -> Path:
        if Path(path).is_relative_to(tmp_path / "cache"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return write_atomically(path, content)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for module in ("cache", "fingerprints", "entry"):
        monkeypatch.setattr(f"oahier.data.cache.{module}.write_atomically", refusing)
    assert KneeCache(tmp_path / "cache").build(manifest, SMALL) == built
    assert len(files(tmp_path / "home")) == 1
    monkeypatch.setattr("oahier.data.cache.fingerprints._hash", lambda path: pytest.fail(f"read: {path}"))
    assert KneeCache(tmp_path / "cache").build(manifest, SMALL) == built
    built[1].write_bytes(b"")
    monkeypatch.undo()
    monkeypatch.setattr("oahier.data.cache.entry.write_atomically", refusing)
    with pytest.raises(CacheError, match="Permission denied"):
        KneeCache(tmp_path / "cache").build(manifest, SMALL)


def test_a_limit_on_file_sizes_is_as_a_full_disk(some_knees: Callable[..., Path], tmp_path: Path) -> None:
    """The system itself refuses to write: no entry, no temporary file, one clear error."""
    path = some_knees(2)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        with pytest.raises(CacheError, match=r"cannot write .*File too large.*OAHIER_CACHE"):
            KneeCache(tmp_path / "cache").build(read_manifest(path), SMALL)

    process = multiprocessing.get_context("fork").Process(target=limited)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert not [file for file in files(tmp_path / "cache") if file.suffix == ".knee"]
    assert len(KneeCache(tmp_path / "cache").build(read_manifest(path), SMALL)) == 2


@pytest.mark.parametrize("damage", ["zeros at the end", "zeros", "bit", "cartilage bit"])
def test_damage_that_keeps_size_and_time_stamp(knees: Path, tmp_path: Path, damage: str) -> None:
    manifest = read_manifest(knees)
    cache = KneeCache(tmp_path)
    entry = cache.build(manifest, SMALL)[5]
    whole, stamp = entry.read_bytes(), entry.stat().st_mtime_ns
    broken = bytearray(whole)
    if damage == "zeros at the end":
        broken[-700:] = bytes(700)
    elif damage == "zeros":
        broken[HEADER_BYTES:] = bytes(len(broken) - HEADER_BYTES)
    else:
        broken[-400 if damage == "cartilage bit" else HEADER_BYTES + 5] ^= 128
    entry.write_bytes(broken)
    os.utime(entry, ns=(stamp, stamp))
    assert cache.plan(manifest, SMALL).jobs == []
    plan = cache.plan(manifest, SMALL, verify=True)
    assert [job.entry for job in plan.jobs] == [entry]
    cache.make(manifest, plan)
    assert entry.read_bytes()[HEADER_BYTES:] == whole[HEADER_BYTES:]


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
