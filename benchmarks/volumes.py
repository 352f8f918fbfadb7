"""In-memory batches and a model of a known size, so that nothing but the measured part costs time."""

from __future__ import annotations

from functools import partial

import torch
from torch.utils.data import DataLoader

import oahier as oh
from oahier.types import Batch


def batches(knees: int, shape: tuple[int, int, int], batch_size: int, prefix: str) -> DataLoader[Batch]:
    """A loader over ready batches of random volumes with a slab of cartilage."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for start in range(0, knees, batch_size):
        count = min(batch_size, knees - start)
        kl = torch.arange(start, start + count) % 5
        cartilage = torch.zeros((count, 1, *shape), dtype=torch.uint8)
        middle = shape[2] // 2
        cartilage[
            :, :, shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4, middle : middle + 3
        ] = 2
        names = [f"{prefix}{index:04d}" for index in range(start, start + count)]
        made.append(
            Batch(
                mri=torch.randn((count, 1, *shape), generator=generator),
                cartilage=cartilage,
                targets={"oa": (kl >= 2).long(), "kl": kl},
                knee=names,
                subject=names,
                affine=torch.eye(4, dtype=torch.float64).repeat(count, 1, 1),
            )
        )
    return DataLoader(made, batch_size=None)  # type: ignore[arg-type]


def dual_model(depth: int = 18, width: int = 32) -> oh.HierarchicalClassifier:
    """A dual-head ResNet3D."""
    torch.manual_seed(0)
    return oh.HierarchicalClassifier(
        oh.ResNet3D(depth=depth, width=width),
        heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5)},
        optimizer=partial(torch.optim.AdamW, lr=1e-4),
    )
