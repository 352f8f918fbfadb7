"""In-memory batches and a model of a known size, so that nothing but the measured part costs time."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.utils.data import DataLoader

import oahier as oh
from oahier.types import Batch


def batches(knees: int, shape: tuple[int, int, int], batch_size: int, prefix: str) -> list[Batch]:
    """Random volumes with a slab of cartilage, three voxels thick, through half of the field of view."""
    generator = torch.Generator().manual_seed(0)
    i, j, k = shape
    made = []
    for start in range(0, knees, batch_size):
        count = min(batch_size, knees - start)
        kl = torch.arange(start, start + count) % 5
        cartilage = torch.zeros((count, 1, *shape), dtype=torch.uint8)
        cartilage[:, :, i // 4 : -i // 4, j // 4 : -j // 4, k // 2 : k // 2 + 3] = 2
        names = [f"{prefix}{index:04d}" for index in range(start, start + count)]
        batch = Batch(
            mri=torch.randn((count, 1, *shape), generator=generator),
            cartilage=cartilage,
            targets={"oa": (kl >= 2).long(), "kl": kl},
            knee=names,
            subject=names,
            affine=torch.eye(4, dtype=torch.float64).repeat(count, 1, 1),
        )
        made.append(batch)
    return made


def loader(ready: list[Batch]) -> DataLoader[Batch]:
    """Hands out ready batches; a list would mean several loaders to a trainer."""
    return DataLoader(ready, batch_size=None)  # type: ignore[arg-type]


def dual_model(encoder: nn.Module | str | None = None) -> oh.HierarchicalClassifier:
    """A dual-head model, by default of a ResNet3D with a quarter of the paper's weights."""
    torch.manual_seed(0)
    return oh.HierarchicalClassifier(
        oh.ResNet3D(depth=18, width=32) if encoder is None else encoder,
        heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5)},
        optimizer=partial(torch.optim.AdamW, lr=1e-4),
    )
