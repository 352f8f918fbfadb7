"""Cached epochs up to the device, over MONAI's in memory and over copying the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import oahier as oh
from benchmarks.harness import Comparison, in_turn
from benchmarks.knees_on_disk import KneesOnDisk, Shape, by
from benchmarks.rivals import Epoch, Spacing, monai_datasets
from oahier.data import Manifest
from oahier.data.dataset import Loader, in_single_precision, knee_loader

Device = Callable[[torch.Tensor], object]


def sending(
    disk: KneesOnDisk, shape: Shape, spacing: Spacing, rounds: int, *, goals: bool
) -> list[Comparison]:
    """Goals: 1.3 times as fast as MONAI's CacheDataset, at most 1.1 times a copy of the same bytes.

    An epoch ends with every batch on the device: a GPU where there is one, else a second place in memory, to
    which each side copies the bytes that it sends. On a GPU the batches are made float32 there, within the
    epoch; without one there is nobody to do it, and a further row has it done by the processor.
    """
    order = list(range(disk.knees)) * (1 if rounds == 1 else 10)
    send, cuda = _sender(), torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        monai, loader = _monai(disk, shape, spacing, Path(name), order), _cached(disk, shape, spacing, order)
        theirs, ours = _epoch(monai, send, float32=False), _epoch(loader, send, float32=cuda)
        beside = in_turn(theirs, ours, rounds)
        made = in_turn(theirs, _epoch(loader, send, float32=True), rounds)
    plain = _epoch(loader, send, float32=False)
    stored = [(batch["mri"].clone(), batch["cartilage"].clone()) for batch in loader][: disk.knees]
    copies = in_turn(plain, _copies([stored[index] for index in order], send), rounds)
    mapped = in_turn(plain, _mapped_copies(disk, shape, order, send), rounds)
    place = "to the GPU" if cuda else "to another place in memory"
    note = f"{len(order)} knees of {by(shape)} with label maps, batch 1, {place}"
    half = "cached epoch, sent in half precision"
    return [
        Comparison(
            "epoch of MONAI CacheDataset, sent", half, beside, 1.3 if goals else None, True, note=note
        ),
        Comparison("epoch of MONAI CacheDataset, sent", "the same, made float32 there", made, note=note),
        Comparison(
            half, "the same bytes copied from memory", copies, 1.1 if goals else None, note=note
        ),
        Comparison(half, "the same bytes copied from mapped files", mapped, note=note),
    ]  # fmt: skip


def _cached(disk: KneesOnDisk, shape: Shape, spacing: Spacing, order: list[int]) -> Loader:
    manifest = oh.read_manifest(disk.manifest)
    together = Manifest.from_table(manifest.table.assign(split="train"), manifest.root)
    data = oh.KneeMRIDataModule(together, shape=shape, spacing=spacing, batch_size=1, augmentation=None)
    data.prepare_data()
    data.setup("predict")
    return knee_loader(data.dataset(None), 0, 0, half=True, batch_size=1, sampler=order)


def _monai(disk: KneesOnDisk, shape: Shape, spacing: Spacing, folder: Path, order: list[int]) -> Any:
    _, dataset = monai_datasets(disk, shape, spacing, folder)
    from monai.data import DataLoader

    return DataLoader(dataset, batch_size=1, num_workers=0, sampler=order)


def _sender() -> Device:
    """Moves a tensor to the device; a copy into memory that is there already stands for a missing one."""
    if torch.cuda.is_available():
        return lambda tensor: tensor.to("cuda", non_blocking=True)
    places: dict[tuple[torch.dtype, int], torch.Tensor] = {}

    def send(tensor: torch.Tensor) -> torch.Tensor:
        place = places.setdefault((tensor.dtype, tensor.numel()), torch.empty_like(tensor))
        return place.copy_(tensor)

    return send


def _epoch(loader: Any, send: Device, *, float32: bool) -> Epoch:
    def epoch() -> None:
        for batch in loader:
            mri, _ = send(batch["mri"]), send(batch["cartilage"])
            if float32:
                in_single_precision({"mri": mri}, None)
        _finish()

    return epoch


def _copies(stored: list[tuple[torch.Tensor, torch.Tensor]], send: Device) -> Epoch:
    """From memory to the device, with nothing beside it."""

    def epoch() -> None:
        for knee in stored:
            for tensor in knee:
                send(tensor)
        _finish()

    return epoch


def _mapped_copies(disk: KneesOnDisk, shape: Shape, order: list[int], send: Device) -> Epoch:
    """From mapped files to the device."""
    paths = [(disk.folder / f"{index}.half", disk.folder / f"{index}.bytes") for index in range(disk.knees)]
    for mri, cartilage in paths:
        np.memmap(mri, np.float16, "w+", shape=shape).flush()
        np.memmap(cartilage, np.uint8, "w+", shape=shape).flush()

    def epoch() -> None:
        for index in order:
            for path, kind in zip(paths[index], (np.float16, np.uint8), strict=True):
                send(torch.from_numpy(np.memmap(path, kind, "c", shape=shape)))
        _finish()

    return epoch


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
