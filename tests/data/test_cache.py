from __future__ import annotations

import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from miniature.entries import SMALL, content, files

from oahier.data import KneeCache, read_manifest
from oahier.data.cache.entry import read_entry, verify_entry
from oahier.data.cache.fingerprints import Sources, file_signature
from oahier.data.preprocessing import Preprocessing


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
    paths = [tmp_path / "a", tmp_path / "folder"]
    sources = Sources(tmp_path)
    first = sources.learn(paths, 0)
    sources.save()
    with monkeypatch.context() as patch:
        patch.setattr("oahier.data.cache.fingerprints._hash", lambda path: pytest.fail(f"read: {path}"))
        assert Sources(tmp_path).learn(paths, 0) == first
    (tmp_path / "a").write_bytes(b"two!")
    (tmp_path / "folder" / "1.dcm").write_bytes(b"slice")
    second = Sources(tmp_path).learn(paths, 0)
    assert all(second[path].hash != first[path].hash for path in paths)
    (tmp_path / "sources.json").write_text("{half")
    assert Sources(tmp_path).learn(paths, 0) == second


def test_names_do_not_depend_on_where_things_are(some_knees: Callable[..., Path], tmp_path: Path) -> None:
    """Another machine that finds the same cache under another path has nothing to build."""
    path = some_knees(3)
    KneeCache(tmp_path / "cache").build(read_manifest(path), SMALL)
    shutil.copytree(path.parent, tmp_path / "copied")
    (tmp_path / "cache").rename(tmp_path / "mounted")
    plan = KneeCache(tmp_path / "mounted").plan(read_manifest(tmp_path / "copied"), SMALL)
    assert plan.jobs == []
    assert all(entry.is_relative_to(tmp_path / "mounted") for entry in plan.entries)


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


def test_common_spacing_fits_the_median_field_of_view(knees: Path, tmp_path: Path) -> None:
    cache = KneeCache(tmp_path)
    manifest = read_manifest(knees)
    assert cache.common_spacing(manifest, (8, 8, 10)) == (3.0, 3.0, 2.0)
    assert cache.common_spacing(manifest, (12, 16, 20)) == (2.0, 1.5, 1.0)


def test_a_full_cache_costs_one_look_at_every_file(
    knees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is read once, every source is looked at once, and of entries only the header."""
    manifest = read_manifest(knees)
    KneeCache(tmp_path).build(manifest, SMALL)
    signed, opened = Counter[Path](), Counter[Path]()
    original, path_open = file_signature, Path.open

    def signature(path: Path) -> str:
        signed[path] += 1
        return original(path)

    def counted(path: Path, *arguments: Any, **options: Any) -> Any:
        opened[path] += path.is_relative_to(tmp_path)
        return path_open(path, *arguments, **options)

    monkeypatch.setattr("oahier.data.cache.fingerprints.file_signature", signature)
    monkeypatch.setattr(Path, "open", counted)
    cache = KneeCache(tmp_path)
    entries = cache.build(manifest, SMALL)
    assert len(signed) == 2 * len(manifest)
    assert set(signed.values()) == {1}
    assert +opened == Counter([*entries, tmp_path / "sources.json"])
    before = opened.total()
    assert cache.build(manifest, SMALL) == entries
    assert opened.total() - before == len(entries)


@pytest.mark.parametrize("workers", [0, 2])
def test_filling_a_cache_leaves_the_random_state_alone(
    some_knees: Callable[..., Path], tmp_path: Path, workers: int
) -> None:
    """A run with an empty cache is the run with a full one."""
    state = torch.get_rng_state()
    KneeCache(tmp_path / "cache").build(read_manifest(some_knees(2)), SMALL, workers)
    assert torch.equal(torch.get_rng_state(), state)
