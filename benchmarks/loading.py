"""An epoch from the cache, over the same preprocessing done anew by TorchIO each epoch."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torchio as tio
from scipy.ndimage import gaussian_filter

import oahier as oh
from benchmarks.harness import Comparison, alternate, seconds


def _write_knees(folder: Path, knees: int, shape: tuple[int, int, int]) -> Path:
    """Textured int16 volumes, gzipped as OAI's are distributed."""
    generator = np.random.default_rng(0)
    rows = [["knee", "subject", "mri", "kl"]]
    coarse = gaussian_filter(generator.normal(size=[max(size // 8, 2) for size in shape]), 1)
    for index in range(knees):
        smooth = np.kron(coarse, np.ones((8, 8, 8)))[: shape[0], : shape[1], : shape[2]]
        volume = (200 * smooth + 30 * generator.normal(size=smooth.shape) + 300).astype(np.int16)
        name = f"knee-{index}.nii.gz"
        nib.save(nib.Nifti1Image(volume, np.diag([0.7, 0.36, 0.36, 1.0])), folder / name)
        rows.append([f"knee-{index}", f"subject-{index}", name, str(index % 5)])
    path = folder / "knees.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def loading(quick: bool) -> list[Comparison]:
    """Goal: at least 100 times faster than uncached TorchIO, at the size of an OAI knee."""
    shape, knees, rounds = ((16, 32, 32), 2, 1) if quick else ((160, 384, 384), 4, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = _write_knees(folder, knees, shape)
        spacing = (0.7, 0.36, 0.36)
        data = oh.KneeMRIDataModule(path, shape=shape, spacing=spacing, batch_size=1, augmentation=None)
        data.prepare_data()
        data.setup("predict")
        cached = data.predict_dataloader()
        transform = tio.Compose(
            [tio.ToCanonical(), tio.Resample(spacing), tio.CropOrPad(shape), tio.ZNormalization()]
        )
        subjects = [
            tio.Subject(mri=tio.ScalarImage(folder / f"knee-{index}.nii.gz")) for index in range(knees)
        ]
        uncached = tio.SubjectsDataset(subjects, transform=transform, load_getitem=True)
        plain = [
            np.lib.format.open_memmap(folder / f"{index}.npy", "w+", np.float16, shape)
            for index in range(knees)
        ]

        def epoch() -> None:
            for batch in cached:
                batch["mri"].sum()

        def torchio_epoch() -> None:
            for subject in uncached:
                subject["mri"].data.sum()

        def bare_epoch() -> None:
            for volume in plain:
                np.asarray(volume, dtype=np.float32).sum()

        note = f"{knees} knees of {'x'.join(map(str, shape))}, batches summed"
        against, times = alternate(lambda: seconds(torchio_epoch), lambda: seconds(epoch), rounds)
        bare, bare_times = alternate(lambda: seconds(epoch), lambda: seconds(bare_epoch), max(rounds, 5))
    return [
        Comparison("TorchIO epoch without a cache", "cached epoch", against, 100, True, note, times),
        Comparison("cached epoch", "bare memory map to float32", bare, None, note=note, seconds=bare_times),
    ]
