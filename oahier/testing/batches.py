"""Tiny synthetic knees: random volumes whose brightness follows the grade."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from oahier.hierarchy import DEFAULT_HIERARCHY
from oahier.types import CARTILAGE_LABELS, KL_GRADES, MISSING, Batch


def tiny_batch(
    kl: Sequence[int] = (0, 3),
    shape: tuple[int, int, int] = (16, 16, 16),
    *,
    seed: int = 0,
    first: int = 0,
    cartilage: bool = True,
) -> Batch:
    """A batch of noise with a block in the middle that is brighter the higher the grade.

    Args:
        kl: grade of each knee, ``MISSING`` (-1) for none; OA follows from it.
        shape: size of the volumes.
        seed: seed of the noise.
        first: number of the first knee; knees are named ``knee000``, ``knee001``, ... and two in a row
            belong to one subject.
        cartilage: also make label maps, with the three cartilages as slabs.

    >>> batch = tiny_batch((1, 4, -1))
    >>> tuple(batch["mri"].shape), batch["targets"]["oa"].tolist(), batch["knee"]
    ((3, 1, 16, 16, 16), [0, 1, -1], ['knee000', 'knee001', 'knee002'])
    """
    grades = torch.tensor(list(kl), dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed)
    mri = torch.randn((len(grades), 1, *shape), generator=generator)
    inner = tuple(slice(size // 4, max(size // 4 + 1, 3 * size // 4)) for size in shape)
    mri[(slice(None), slice(None), *inner)] += (grades.clamp(min=0) - 2.0)[:, None, None, None, None]
    numbers = range(first, first + len(grades))
    finest = DEFAULT_HIERARCHY.finest
    coarse = {level: DEFAULT_HIERARCHY.coarsen(grades, finest, level) for level in DEFAULT_HIERARCHY.coarser}
    batch = Batch(
        mri=mri,
        targets={**coarse, finest: grades},
        knee=[f"knee{number:03d}" for number in numbers],
        subject=[f"subject{number // 2:03d}" for number in numbers],
        affine=torch.eye(4, dtype=torch.float64).expand(len(grades), 4, 4).clone(),
    )
    if cartilage:
        labels = torch.zeros(mri.shape, dtype=torch.uint8)
        for index, label in enumerate(CARTILAGE_LABELS):
            labels[..., inner[2].start + index :: shape[2]] = label
        batch["cartilage"] = labels
    return batch


def tiny_batches(
    count: int = 4,
    batch_size: int = 2,
    shape: tuple[int, int, int] = (16, 16, 16),
    *,
    seed: int = 0,
    missing: bool = False,
    cartilage: bool = True,
) -> list[Batch]:
    """Batches of knees whose grades run through 0-4 in a shuffled order.

    Args:
        count: number of batches.
        batch_size: knees in each.
        shape: size of the volumes.
        seed: seed of grades and noise.
        missing: leave the first knee of each batch, and the whole second batch, without labels.
        cartilage: also make label maps.

    >>> [batch["knee"] for batch in tiny_batches(2)]
    [['knee000', 'knee001'], ['knee002', 'knee003']]
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count * batch_size, generator=generator) % KL_GRADES
    batches = []
    for index, grades in enumerate(order.split(batch_size)):
        kl = grades.tolist()
        if missing:
            kl = [MISSING] * len(kl) if index == 1 else [MISSING, *kl[1:]]
        batches.append(
            tiny_batch(kl, shape, seed=seed * 1000 + index + 1, first=index * batch_size, cartilage=cartilage)
        )
    return batches


def tiny_dataloader(batches: Sequence[Batch], *, shuffle: bool = False) -> DataLoader[Batch]:
    """A data loader that yields these batches as they are.

    >>> len(tiny_dataloader(tiny_batches(3)))
    3
    """
    return DataLoader(list(batches), batch_size=None, shuffle=shuffle)  # type: ignore[arg-type]
