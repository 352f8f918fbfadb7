"""Class-balanced sampling and the seeds of worker processes."""

from __future__ import annotations

import random
from collections.abc import Iterator

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


class BalancedSampler(Sampler[int]):
    """Draws as many knees as there are, with replacement, each with its weight.

    An epoch's draw depends on seed and epoch alone. It is therefore the same on every process of a
    distributed run, where Lightning deals it out, so that the processes get disjoint parts of one draw.
    """

    def __init__(self, weights: Float64[np.ndarray, " knees"], seed: int) -> None:
        self._weights = torch.from_numpy(weights)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning; without it every pass counts as one epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        probabilities = self._weights.numpy() / self._weights.sum().item()
        yield from generator.choice(len(self), size=len(self), p=probabilities).tolist()


def seed_worker(worker: int, rank: int = 0) -> None:
    """Give a worker process its own stream: other workers, epochs and ranks get others, a rerun the same."""
    sequence = np.random.SeedSequence([torch.initial_seed() % 2**63, worker, rank])
    first, second, third = (int(value) for value in sequence.generate_state(3, np.uint64))
    torch.manual_seed(first)
    random.seed(second)
    np.random.seed(third % 2**32)  # noqa: NPY002  (for transforms that use the global generator)
