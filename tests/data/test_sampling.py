from __future__ import annotations

import numpy as np
import pytest
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper

from oahier.data.sampling import TrainingSampler, balanced_weights
from oahier.types import MISSING


def test_every_class_is_drawn_equally_often() -> None:
    labels = np.array([0] * 60 + [1] * 25 + [4] * 5 + [MISSING] * 10)
    weights = balanced_weights(labels)
    assert weights.sum() == pytest.approx(1)
    for grade in (0, 1, 4):
        assert weights[labels == grade].sum() == pytest.approx(0.3)
    assert weights[labels == MISSING].sum() == pytest.approx(0.1)
    sampler = TrainingSampler(100, 0, weights=weights)
    drawn = np.concatenate([[labels[index] for index, _ in sampler] for _ in range(60)])
    shares = [np.mean(drawn == grade) for grade in (0, 1, 4)]
    np.testing.assert_allclose(shares, 0.3, atol=0.03)


@pytest.mark.parametrize("balanced", [True, False])
def test_epochs_differ_and_runs_repeat(balanced: bool) -> None:
    weights = balanced_weights(np.arange(50) % 5) if balanced else None
    sampler = TrainingSampler(50, 1, weights=weights)
    first, second = list(sampler), list(sampler)
    assert first != second
    assert len(first) == len(sampler) == 50
    again = TrainingSampler(50, 1, weights=weights)
    assert [list(again), list(again)] == [first, second]
    again.set_epoch(0)
    assert list(again) == first
    assert list(TrainingSampler(50, 1, weights=weights, epoch=1)) == second
    assert list(TrainingSampler(50, 2, weights=weights)) != first
    assert len({seed for _, seed in first + second}) == 100
    if not balanced:
        assert sorted(index for index, _ in first) == list(range(50))


def test_ranks_share_one_draw() -> None:
    """What Lightning does under DDP: every rank wraps its own sampler and takes its part."""
    weights = balanced_weights(np.arange(40) % 5)
    whole = TrainingSampler(40, 3, weights=weights)
    ranks = [
        DistributedSamplerWrapper(
            TrainingSampler(40, 3, weights=weights), num_replicas=2, rank=rank, shuffle=True
        )
        for rank in range(2)
    ]
    for epoch in range(2):
        for rank in ranks:
            rank.set_epoch(epoch)
        parts = [list(rank) for rank in ranks]
        assert [len(part) for part in parts] == [20, 20]
        assert sorted(parts[0] + parts[1]) == sorted(whole)
