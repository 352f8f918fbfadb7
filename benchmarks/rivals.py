"""The same knees through the loading tools of TorchIO and MONAI, and through nothing but memory maps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchio as tio

from benchmarks.knees_on_disk import KneesOnDisk, Shape

Epoch = Callable[[], None]
Spacing = tuple[float, ...]


def touch(mri: torch.Tensor, cartilage: torch.Tensor) -> None:
    """Read every voxel, so that nothing stays on disk; to sum bytes would take longer than to load them."""
    mri.sum(), cartilage.amax()


def torchio_epoch(knees: KneesOnDisk, shape: Shape, spacing: Spacing, count: int | None = None) -> Epoch:
    """Reading and preprocessing anew, as TorchIO's own pipeline does it every epoch."""
    steps = [tio.ToCanonical(), tio.Resample(spacing), tio.CropOrPad(shape), tio.ZNormalization()]
    subjects = [
        tio.Subject(mri=tio.ScalarImage(knees.scan(index)), cartilage=tio.LabelMap(knees.mask(index)))
        for index in range(count or knees.knees)
    ]
    dataset = tio.SubjectsDataset(subjects, transform=tio.Compose(steps), load_getitem=True)

    def epoch() -> None:
        for index in range(len(dataset)):
            subject: Any = dataset[index]
            touch(subject["mri"].data, subject["cartilage"].data)

    return epoch


def monai_epochs(knees: KneesOnDisk, shape: Shape, spacing: Spacing, folder: Path) -> tuple[Epoch, Epoch]:
    """PersistentDataset (a file a knee) and CacheDataset (all in memory), all voxels read."""

    def epoch_of(loader: Any) -> Epoch:
        def epoch() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for batch in loader:
                    touch(batch["mri"], batch["cartilage"])

        epoch()
        return epoch

    persistent, cached = monai_datasets(knees, shape, spacing, folder)
    from monai.data import DataLoader

    first, second = (epoch_of(DataLoader(one, batch_size=1, num_workers=0)) for one in (persistent, cached))
    return first, second


def monai_datasets(knees: KneesOnDisk, shape: Shape, spacing: Spacing, folder: Path) -> tuple[Any, Any]:
    """A PersistentDataset, which its first epoch fills, and a filled CacheDataset.

    Both keep float32 volumes and uint8 label maps as plain tensors, without MONAI's metadata: the faster
    way of using them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI and what it imports
        from monai.data import CacheDataset, PersistentDataset

        steps = _monai_steps(shape, spacing)
        items = [{"mri": knees.scan(index), "cartilage": knees.mask(index)} for index in range(knees.knees)]
        persistent = PersistentDataset(items, steps, cache_dir=folder)
        cached = CacheDataset(items, steps, progress=False, num_workers=1)
    return persistent, cached


def _monai_steps(shape: Shape, spacing: Spacing) -> Any:
    from monai import transforms as mt

    both = ["mri", "cartilage"]
    return mt.Compose(
        [
            mt.LoadImaged(both),
            mt.EnsureChannelFirstd(both),
            mt.Orientationd(both, axcodes="RAS", labels=None),
            mt.Spacingd(both, pixdim=spacing, mode=("bilinear", "nearest")),
            mt.ResizeWithPadOrCropd(both, spatial_size=shape),
            mt.NormalizeIntensityd("mri"),
            mt.EnsureTyped("mri", dtype=torch.float32, track_meta=False),
            mt.EnsureTyped("cartilage", dtype=torch.uint8, track_meta=False),
        ]
    )


def bare_epoch(folder: Path, knees: int, shape: Shape) -> Epoch:
    """What no loader can beat by much: float16 and uint8 files, mapped, made float32, touched."""
    paths = [(folder / f"{index}.mri", folder / f"{index}.cartilage") for index in range(knees)]
    for mri, cartilage in paths:
        np.memmap(mri, np.float16, "w+", shape=shape).flush()
        np.memmap(cartilage, np.uint8, "w+", shape=shape).flush()

    def epoch() -> None:
        for mri, cartilage in paths:
            volume = torch.from_numpy(np.memmap(mri, np.float16, "c", shape=shape)).float()
            touch(volume, torch.from_numpy(np.memmap(cartilage, np.uint8, "c", shape=shape)))

    return epoch
