"""An epoch from the cache, over the same preprocessing done anew by TorchIO each epoch."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torchio as tio
from scipy.ndimage import gaussian_filter, zoom

import oahier as oh
from benchmarks.harness import Comparison, in_turn

Shape = tuple[int, int, int]
Spacing = tuple[float, ...]
Epoch = Callable[[], None]
SPACING = (0.7, 0.36, 0.36)
_SOURCE_SPACING = (0.3646, 0.3646, 0.7)
"""Millimetres of a sagittal scan: rows, columns, slices."""


def loading(quick: bool) -> list[Comparison]:
    """Goal: at least 100 times faster than uncached TorchIO, for scans of the size of an OAI knee.

    At the scan's own resolution most of a cached epoch is spent on summing the values, which a loop over
    bare memory maps has to do too; networks are mostly given fewer voxels.
    """
    source, knees, rounds = ((32, 32, 16), 2, 1) if quick else ((384, 384, 160), 4, 3)
    full = (source[2], source[0], source[1])
    half = (source[2] // 2, source[0] // 2, source[1] // 2)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = _write_knees(folder, knees, source)
        for shape, coarser, goal in ((half, 2.0, 100.0), (full, 1.0, None)):
            spacing = tuple(length * coarser for length in SPACING)
            cached = _cached(manifest, shape, spacing)
            uncached = _uncached(folder, knees, shape, spacing)
            repeats = 1 if quick else 5
            note = f"{knees} knees with label maps, {_by(source)} .nii.gz to {_by(shape)}, batch 1, summed"
            against = in_turn(_several(uncached, 1), _several(cached, repeats), rounds)
            per_epoch = tuple((once, several / repeats) for once, several in against)
            bare = _several(_bare(folder, knees, shape), repeats)
            beside = in_turn(_several(cached, repeats), bare, max(rounds, 5))
            results += [
                Comparison("epoch of uncached TorchIO", "cached epoch", per_epoch, goal, True, note=note),
                Comparison("cached epoch", "bare np.memmap loop", beside, note=f"{note}; {repeats} epochs"),
            ]
    return results


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _several(epoch: Epoch, times: int) -> Epoch:
    def run() -> None:
        for _ in range(times):
            epoch()

    return run


def _cached(manifest: Path, shape: Shape, spacing: Spacing) -> Epoch:
    data = oh.KneeMRIDataModule(manifest, shape=shape, spacing=spacing, batch_size=1, augmentation=None)
    data.prepare_data()
    data.setup("predict")
    loader = data.predict_dataloader()

    def epoch() -> None:
        for batch in loader:
            batch["mri"].sum(), batch["cartilage"].sum()

    return epoch


def _uncached(folder: Path, knees: int, shape: Shape, spacing: Spacing) -> Epoch:
    steps = [tio.ToCanonical(), tio.Resample(spacing), tio.CropOrPad(shape), tio.ZNormalization()]
    subjects = [
        tio.Subject(mri=tio.ScalarImage(_scan(folder, index)), cartilage=tio.LabelMap(_mask(folder, index)))
        for index in range(knees)
    ]
    dataset = tio.SubjectsDataset(subjects, transform=tio.Compose(steps), load_getitem=True)

    def epoch() -> None:
        for index in range(len(dataset)):
            subject: Any = dataset[index]
            subject["mri"].data.sum(), subject["cartilage"].data.sum()

    return epoch


def _bare(folder: Path, knees: int, shape: Shape) -> Epoch:
    """What no loader can beat by much: float16 and uint8 files, mapped, made float32, summed."""
    paths = [(folder / f"{index}.mri", folder / f"{index}.cartilage") for index in range(knees)]
    for mri, cartilage in paths:
        np.memmap(mri, np.float16, "w+", shape=shape).flush()
        np.memmap(cartilage, np.uint8, "w+", shape=shape).flush()

    def epoch() -> None:
        for mri, cartilage in paths:
            torch.from_numpy(np.memmap(mri, np.float16, "c", shape=shape)).float().sum()
            torch.from_numpy(np.memmap(cartilage, np.uint8, "c", shape=shape)).sum()

    return epoch


def _scan(folder: Path, index: int) -> Path:
    return folder / f"knee-{index}.nii.gz"


def _mask(folder: Path, index: int) -> Path:
    return folder / f"knee-{index}-cartilage.nii.gz"


def _write_knees(folder: Path, knees: int, shape: Shape) -> Path:
    """Sagittal int16 volumes of smooth texture and noise, which gzip makes about half as large."""
    generator = np.random.default_rng(0)
    coarse = gaussian_filter(generator.normal(size=[size // 8 for size in shape]), 1)
    smooth = zoom(coarse / coarse.std(), 8, order=1)
    affine = np.zeros((4, 4))  # rows from anterior to posterior, columns upwards, slices to the left
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = (
        -_SOURCE_SPACING[0],
        _SOURCE_SPACING[1],
        -_SOURCE_SPACING[2],
        1,
    )
    rows = [["knee", "subject", "mri", "cartilage", "kl"]]
    for index in range(knees):
        noise = generator.normal(size=shape)
        volume = (300 + 80 * np.roll(smooth, 16 * index, axis=0) + 15 * noise).clip(0).astype(np.int16)
        labels = (np.abs(np.roll(smooth, 16 * index, axis=1)) < 0.05).astype(np.uint8) * 2
        nib.save(nib.Nifti1Image(volume, affine), _scan(folder, index))
        nib.save(nib.Nifti1Image(labels, affine), _mask(folder, index))
        rows.append(
            [f"{index}", f"{index}", _scan(folder, index).name, _mask(folder, index).name, str(index % 5)]
        )
    path = folder / "knees.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path
