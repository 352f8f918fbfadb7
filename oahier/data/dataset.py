"""Cached knees one by one and as batches, which may travel in half precision.

The cache holds float16; float32 is needed where volumes are computed with. Batches that a trainer moves to
another device are made float32 there, which is exact, so that half the bytes are read, kept, pinned, moved.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import lightning as L
import numpy as np
import torch
from jaxtyping import Float32, Int64
from lightning.pytorch.trainer.states import TrainerStatus
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from oahier.data.cache.entry import read_entry
from oahier.data.manifest.manifest import Manifest
from oahier.data.sampling import Draw, seed_worker, seeded
from oahier.types import Batch

Loader = DataLoader[Batch]

_SMALLEST = 1 << 20
"""Below this many bytes the allocator itself keeps memory for later."""

_KEPT = 2
"""Free blocks kept per size."""


class Sample(TypedDict):
    """One knee; ``mri`` is as cached unless it was augmented, batches are float32."""

    mri: Tensor
    """``(1, i, j, k)``, z-scored or as a transform left it."""
    cartilage: NotRequired[Tensor]
    """``(1, i, j, k)`` uint8."""
    targets: dict[str, int | float]
    knee: str
    subject: str
    affine: Tensor
    """``(4, 4)`` float64."""
    seed: NotRequired[int]
    """Of the knee's augmentation, where it is drawn for training."""


class KneeDataset(Dataset[Sample]):
    """Preprocessed knees, mapped from the cache.

    Args:
        manifest: the knees.
        entries: their cache entries, in the same order.
        targets: class (int64) or measurement (float32) of every knee per target.
        with_cartilage: deliver label maps, all zero for a knee without one.
        augmentation: maps a TorchIO Subject to a Subject; ``None`` leaves the volumes as cached (batches are
            then augmented on the device, or not at all).
    """

    def __init__(
        self,
        manifest: Manifest,
        entries: Sequence[Path],
        *,
        targets: Mapping[str, Int64[np.ndarray, " knees"] | Float32[np.ndarray, " knees"]],
        with_cartilage: bool,
        augmentation: Callable[[Any], Any] | None = None,
    ) -> None:
        self.knees = [str(name) for name in manifest.table["knee"]]
        self.subjects = [str(name) for name in manifest.table["subject"]]
        self.targets = {name: labels.tolist() for name, labels in targets.items()}
        self._entries = list(entries)
        self._with_cartilage = with_cartilage
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self.knees)

    def __getitem__(self, draw: int | Draw) -> Sample:
        """A knee by its index, or by index and seed of its augmentation."""
        index, seed = draw if isinstance(draw, tuple) else (draw, None)
        entry = read_entry(self._entries[index])
        mri = torch.from_numpy(entry.mri)[None]
        cartilage = None if entry.cartilage is None else torch.from_numpy(entry.cartilage)[None]
        if self._augmentation is not None:
            mri, cartilage = self._augmented(mri, cartilage, entry.affine, seed or 0)
        sample = Sample(
            mri=mri,
            targets={name: labels[index] for name, labels in self.targets.items()},
            knee=self.knees[index],
            subject=self.subjects[index],
            affine=torch.from_numpy(entry.affine),
        )
        if seed is not None:
            sample["seed"] = seed
        if self._with_cartilage:
            sample["cartilage"] = (
                torch.zeros(mri.shape, dtype=torch.uint8) if cartilage is None else cartilage
            )
        return sample

    def _augmented(
        self, mri: Tensor, cartilage: Tensor | None, affine: np.ndarray, seed: int
    ) -> tuple[Tensor, Tensor | None]:
        from oahier.data.augmentation.subject import augment

        if self._augmentation is None:
            return mri, cartilage
        with seeded(seed):
            return augment(self._augmentation, mri, cartilage, affine)


def collate(samples: Sequence[Sample], *, half: bool = False) -> Batch:
    """Stack samples into a :class:`~oahier.types.Batch`; the one copy also turns float16 into float32.

    Args:
        samples: of one data set.
        half: leave float16 as it is, for a transfer of half the bytes.
    """
    first = samples[0]
    half = half and all(sample["mri"].dtype == torch.float16 for sample in samples)
    batch = Batch(
        mri=_stack([sample["mri"] for sample in samples], torch.float16 if half else torch.float32),
        targets={
            name: torch.tensor(
                [sample["targets"][name] for sample in samples],
                dtype=torch.float32 if isinstance(value, float) else torch.int64,
            )
            for name, value in first["targets"].items()
        },
        knee=[sample["knee"] for sample in samples],
        subject=[sample["subject"] for sample in samples],
        affine=torch.stack([sample["affine"] for sample in samples]),
    )
    if "seed" in first:
        batch["seed"] = torch.tensor([sample["seed"] for sample in samples], dtype=torch.int64)
    if "cartilage" in first:
        batch["cartilage"] = _stack([sample["cartilage"] for sample in samples], torch.uint8)
    return batch


def knee_loader(
    dataset: Dataset[Any], num_workers: int, rank: int, *, half: bool = False, **arguments: Any
) -> Loader:
    """Batches of knees, made by processes whose random streams differ from those of other ranks."""
    return DataLoader(
        dataset,
        num_workers=num_workers,
        collate_fn=partial(collate, half=half),
        worker_init_fn=partial(seed_worker, rank=rank),
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        **arguments,
    )


def _stack(volumes: list[Tensor], dtype: torch.dtype) -> Tensor:
    """One tensor of all; a single volume of the right type stays where it is."""
    if len(volumes) == 1 and volumes[0].dtype == dtype and get_worker_info() is None:
        return volumes[0][None]
    stacked = _BUFFERS.empty((len(volumes), *volumes[0].shape), dtype)
    for row, volume in zip(stacked, volumes, strict=True):
        row.copy_(volume)
    return stacked


def sends_half(trainer: L.Trainer | None) -> bool:
    """Whether a trainer is running that moves batches from the main memory to another device."""
    if trainer is None or trainer.state.status != TrainerStatus.RUNNING:
        return False
    return trainer.strategy.root_device.type != "cpu"


def in_single_precision(batch: Any, trainer: L.Trainer | None) -> Any:
    """A batch with float32 volumes instead of float16 ones, unless the trainer computes in float16."""
    mri = batch.get("mri") if isinstance(batch, Mapping) else None
    if mri is None or mri.dtype != torch.float16:
        return batch
    if trainer is not None and trainer.precision_plugin.convert_input(torch.zeros(())).dtype == torch.float16:
        return batch
    if mri.device.type != "cpu":
        return {**batch, "mri": mri.float()}
    return {**batch, "mri": _BUFFERS.empty(tuple(mri.shape), torch.float32).copy_(mri)}


class BufferPool:
    """Memory for batches, used again as soon as nobody holds the last view of it.

    A full-size float32 volume is 94 MB. Asking the system for that much anew costs several times more than
    filling it, since every page is cleared first.

    >>> pool = BufferPool()
    >>> first = pool.empty((2, 1024, 1024), torch.float32)
    >>> address, view = first.data_ptr(), first[1]
    >>> del first
    >>> pool.empty((2, 1024, 1024), torch.float32).data_ptr() == address  # the view still needs it
    False
    >>> del view
    >>> pool.empty((2, 1024, 1024), torch.float32).data_ptr() == address
    True
    """

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = defaultdict(list)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of any content; in a worker process it lies in shared memory, and is not copied again."""
        size = int(np.prod(shape)) * dtype.itemsize
        if get_worker_info() is not None:
            storage = torch.UntypedStorage._new_shared(size, device="cpu")
            return torch.empty(0, dtype=dtype).set_(storage).view(shape)
        if size < _SMALLEST:
            return torch.empty(shape, dtype=dtype)
        free = self._free[size]
        block = free.pop() if free else np.empty(size, dtype=np.uint8)
        lease = block[:]  # the tensor owns this array, and its end is the end of the lease
        weakref.finalize(lease, _give_back, free, block).atexit = False
        return torch.from_numpy(lease).view(dtype).view(shape)


def _give_back(free: list[np.ndarray], block: np.ndarray) -> None:
    if len(free) < _KEPT:
        free.append(block)


_BUFFERS = BufferPool()
"""Of the batches of this process."""
