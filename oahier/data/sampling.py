"""The order of training knees and the seeds of worker processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch.utils.data import Sampler

from oahier.types import MISSING


def balanced_weights(labels: Int64[np.ndarray, " knees"]) -> Float64[np.ndarray, " knees"]:
    """Probability of drawing each knee, such that every class that occurs is drawn equally often.

    Knees without a label are drawn as often as in an unweighted epoch.

    >>> balanced_weights(np.array([0, 0, 0, 4, -1])).round(3).tolist()
    [0.133, 0.133, 0.133, 0.4, 0.2]
    """
    known = labels != MISSING
    weights = np.full(len(labels), 1 / max(len(labels), 1))
    classes, members, counts = np.unique(labels[known], return_inverse=True, return_counts=True)
    if len(classes):
        weights[known] = known.mean() / len(classes) / counts[members]
    return weights


Draw = tuple[int, int]
"""Index of a knee and the seed of its augmentation."""


class TrainingSampler(Sampler[Draw]):
    """The order of the training knees and the seed of each one's augmentation, anew in each epoch.

    Both depend on seed and epoch alone: a resumed training sees what the whole one would have seen, with any
    number of worker processes. The order is also the same on every process of a distributed run, where
    Lightning deals it out, so that the processes get disjoint parts of one draw.

    Args:
        count: number of knees; each is drawn once an epoch.
        seed: of order and augmentation.
        weights: ``(count,)``; draw ``count`` knees with replacement, each with its weight.
        epoch: the first epoch.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        weights: Float64[np.ndarray, " knees"] | None = None,
        epoch: int = 0,
    ) -> None:
        self._count, self._seed, self._epoch = count, seed, epoch
        self._probabilities = None if weights is None else weights / weights.sum()

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning; without it every pass counts as one epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Draw]:
        generator = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        if self._probabilities is None:
            order = generator.permutation(self._count)
        else:
            order = generator.choice(self._count, size=self._count, p=self._probabilities)
        seeds = generator.integers(2**62, size=self._count)
        yield from zip(order.tolist(), seeds.tolist(), strict=True)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, Python and NumPy for a while; their states stay as they were."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def seed_worker(worker: int, rank: int = 0) -> None:
    """Give a worker process its own stream: other workers, epochs and ranks get others, a rerun the same."""
    sequence = np.random.SeedSequence([torch.initial_seed() % 2**63, worker, rank])
    first, second, third = (int(value) for value in sequence.generate_state(3, np.uint64))
    torch.manual_seed(first)
    random.seed(second)
    np.random.seed(third % 2**32)  # noqa: NPY002  (for transforms that use the global generator)
