"""Epochs from the cache, and filling it, over the tools that people use; and many knees over few."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk
import torch

import oahier as oh
from benchmarks.harness import Comparison, Round, in_turn
from benchmarks.knees_on_disk import KneesOnDisk, Shape, by
from benchmarks.rivals import Epoch, Spacing, bare_epoch, monai_epochs, torchio_epoch, touch
from benchmarks.scaling import scaling
from benchmarks.sending import sending
from oahier.data import KneeCache, Manifest, Preprocessing

SPACING = (0.7, 0.36, 0.36)
_OAI: Shape = (384, 384, 160)
_TINY: Shape = (32, 32, 16)


def loading(quick: bool) -> list[Comparison]:
    """Goals: cached epochs, and building the cache, each over what people use.

    An epoch: 100 times faster than uncached TorchIO, 1.5 times than MONAI's PersistentDataset, at most twice
    as long as bare memory maps. Building a knee: a third of the time of TorchIO's pipeline on one core.
    At the scan's own resolution most of a cached epoch is spent on making the values float32 and summing
    them, which a loop over bare memory maps has to do too; networks are mostly given fewer voxels.
    """
    knees, rounds = (2, 1) if quick else (4, 3)
    source = _TINY if quick else _OAI
    full = (source[2], source[0], source[1])
    half = (source[2] // 2, source[0] // 2, source[1] // 2)
    results: list[Comparison] = []
    with tempfile.TemporaryDirectory() as name:
        disk = KneesOnDisk(Path(name), knees, source).write()
        for shape, coarser, goals in ((half, 2.0, True), (full, 1.0, False)):
            spacing = tuple(length * coarser for length in SPACING)
            times = rounds if goals else min(rounds, 2)
            results += _epochs(disk, shape, spacing, times, goals=goals)
            results += _building(disk, shape, spacing, times, goals=goals)
            results += sending(disk, shape, spacing, many(times), goals=goals)
    return results + scaling(quick)


def _epochs(
    disk: KneesOnDisk, shape: Shape, spacing: Spacing, rounds: int, *, goals: bool
) -> list[Comparison]:
    cached = _cached(disk, shape, spacing)
    repeats = 1 if rounds == 1 else 5
    sizes = f"{by(disk.shape)} .nii.gz to {by(shape)}"
    note = f"{disk.knees} knees with label maps, {sizes}, batch 1, all voxels read"

    def one_of(made: tuple[Round, ...], first_repeats: int) -> tuple[Round, ...]:
        return tuple((first / first_repeats, second / repeats) for first, second in made)

    with tempfile.TemporaryDirectory() as name:
        persistent, in_memory = monai_epochs(disk, shape, spacing, Path(name))
        bare = bare_epoch(disk.folder, disk.knees, shape)
        ours = _several(cached, repeats)
        uncached = in_turn(torchio_epoch(disk, shape, spacing), ours, rounds)
        beside = [in_turn(_several(other, repeats), ours, many(rounds)) for other in (persistent, in_memory)]
        over_bare = in_turn(ours, _several(bare, repeats), many(rounds))
    return [
        Comparison(
            "epoch of uncached TorchIO", "cached epoch", one_of(uncached, 1), 100.0 if goals else None, True,
            note=note,
        ),
        Comparison(
            "epoch of MONAI PersistentDataset", "cached epoch", one_of(beside[0], repeats),
            1.5 if goals else None, True, note=f"{note}; {repeats} epochs",
        ),
        Comparison(
            "epoch of MONAI CacheDataset (memory)", "cached epoch", one_of(beside[1], repeats),
            note=f"{note}; {repeats} epochs",
        ),
        Comparison(
            "cached epoch", "bare np.memmap loop", one_of(over_bare, repeats), 2.0 if goals else None,
            note=f"{note}; {repeats} epochs",
        ),
    ]  # fmt: skip


def _building(
    disk: KneesOnDisk, shape: Shape, spacing: Spacing, rounds: int, *, goals: bool
) -> list[Comparison]:
    """One knee on one core: hashed, read, checked, preprocessed, written; over TorchIO's pipeline."""
    manifest = oh.read_manifest(disk.manifest)
    one = Manifest.from_table(manifest.table.iloc[:1], manifest.root)
    settings = Preprocessing(shape, spacing)
    folder = disk.folder / "built"

    def build() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        KneeCache(folder).build(one, settings)

    pipeline = torchio_epoch(disk, shape, spacing, count=1)
    made = _on_one_core(lambda: in_turn(pipeline, build, many(rounds)))
    unzipped = _on_one_core(lambda: in_turn(build, _gunzip(disk.scan(0), disk.mask(0)), many(rounds)))
    return [
        Comparison(
            "one knee by TorchIO's pipeline", "one cache entry", made, 3.0 if goals else None, True,
            note=f"{by(disk.shape)} .nii.gz with label map to {by(shape)}, one thread",
        ),
        Comparison(
            "one cache entry", "gunzipping its files", unzipped, 1.5 if goals else None,
            note=f"{by(disk.shape)} .nii.gz with label map to {by(shape)}, one thread",
        ),
    ]  # fmt: skip


def _gunzip(*paths: Path) -> Callable[[], None]:
    """Read compressed files, and do nothing with what is in them."""

    def run() -> None:
        for path in paths:
            with gzip.open(path) as file:
                while file.read(1 << 24):
                    pass

    return run


def _on_one_core(measure: Callable[[], tuple[Round, ...]]) -> tuple[Round, ...]:
    threads = torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(threads[0])
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads[1])


def many(rounds: int) -> int:
    """Rounds of what takes little time."""
    return max(rounds, 5) if rounds > 1 else 1


def _several(epoch: Epoch, times: int) -> Epoch:
    def run() -> None:
        for _ in range(times):
            epoch()

    return run


def _cached(disk: KneesOnDisk, shape: Shape, spacing: Spacing) -> Epoch:
    manifest = oh.read_manifest(disk.manifest)
    together = Manifest.from_table(manifest.table.assign(split="train"), manifest.root)
    data = oh.KneeMRIDataModule(together, shape=shape, spacing=spacing, batch_size=1, augmentation=None)
    data.prepare_data()
    data.setup("predict")
    loader = data.predict_dataloader()

    def epoch() -> None:
        for batch in loader:
            touch(batch["mri"], batch["cartilage"])

    return epoch
