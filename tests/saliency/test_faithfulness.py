"""Deletion, insertion, randomisation and stability, against slow references."""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import spearmanr
from torch import nn

from oahier.saliency import (
    cascading_randomisation,
    deletion_insertion,
    map_agreement,
    random_pairs,
    repeatability,
)
from oahier.saliency.blur import local_mean

SHAPE = (4, 5, 6)


def linear_score(weight):
    return lambda volume: (volume[:, 0] * weight).sum(dim=(1, 2, 3))


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_curves(score, volume, saliency, steps):
    """One voxel list, one knee, NumPy."""
    plain = local_mean(volume).numpy().ravel()
    whole, order = volume.numpy().ravel(), np.argsort(-saliency.numpy().ravel(), kind="stable")
    areas = []
    for start, end in ((whole, plain), (plain, whole)):
        points = []
        for step in range(steps + 1):
            # a voxel counts as gone once its middle is: (rank + .5) / n below the share
            gone = order[: int(np.sum((np.arange(len(order)) + 0.5) / len(order) < step / steps))]
            mixed = start.copy()
            mixed[gone] = end[gone]
            points.append(float(score(torch.from_numpy(mixed).view(1, 1, *SHAPE))))
        low, high = (float(score(torch.from_numpy(x).view(1, 1, *SHAPE))) for x in (plain, whole))
        areas.append(trapezoid([(point - low) / (high - low) for point in points], dx=1 / steps))
    return areas


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_curves_equal_a_slow_reference(at_once):
    volume, saliency, score = (
        drawn(2, 1, *SHAPE),
        drawn(2, *SHAPE, seed=1).abs(),
        linear_score(drawn(*SHAPE, seed=2)),
    )
    found = deletion_insertion(score, volume, saliency, steps=7, at_once=at_once)
    for knee in range(2):
        deletion, insertion = slow_curves(score, volume[knee : knee + 1], saliency[knee], 7)
        assert found["deletion"][knee].item() == pytest.approx(deletion, rel=1e-3, abs=1e-4)
        assert found["insertion"][knee].item() == pytest.approx(insertion, rel=1e-3, abs=1e-4)
        assert found["insertion_gain"][knee].item() == pytest.approx(insertion - deletion, rel=1e-3, abs=1e-4)


def test_the_right_order_gains_and_the_wrong_one_loses():
    volume, weight = drawn(1, 1, *SHAPE), drawn(*SHAPE, seed=2)
    change = (weight * (volume - local_mean(volume))[:, 0]).double()
    change = change - change.min() if change.sum() > 0 else change.max() - change
    score = linear_score(weight)
    right, wrong = (deletion_insertion(score, volume, heat) for heat in (change, change.max() - change))
    assert right["insertion_gain"] > 0.1 > -0.1 > wrong["insertion_gain"]


def test_curves_that_are_undefined_are_nan():
    flat = torch.ones(1, 1, *SHAPE)
    assert (
        deletion_insertion(linear_score(torch.ones(SHAPE)), flat, drawn(1, *SHAPE))["deletion"].isnan().all()
    )
    heat = torch.full((1, *SHAPE), torch.nan)
    volume = drawn(1, 1, *SHAPE)
    assert deletion_insertion(linear_score(drawn(*SHAPE)), volume, heat)["insertion"].isnan().all()


def test_agreement_is_spearman_and_undefined_for_a_constant_map():
    first, second = drawn(3, *SHAPE), drawn(3, *SHAPE, seed=1).round(decimals=1)
    found = map_agreement(first, second)
    for knee in range(3):
        assert found[knee].item() == pytest.approx(
            spearmanr(first[knee].ravel(), second[knee].ravel()).statistic
        )
    assert map_agreement(first, torch.ones(3, *SHAPE)).isnan().all()


def test_floor_of_random_pairs_is_the_mean_over_all_other_knees():
    maps = drawn(4, *SHAPE) + 2 * drawn(1, *SHAPE, seed=9)
    pairs = np.array([[spearmanr(a.ravel(), b.ravel()).statistic for b in maps] for a in maps])
    expected = (pairs.sum(axis=1) - 1) / 3
    np.testing.assert_allclose(random_pairs(maps), expected)
    assert random_pairs(maps[:1]).isnan().all()


def test_cascade_draws_module_after_module_and_gives_all_back():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.ModuleDict({"first": nn.Linear(30, 30), "second": nn.Linear(30, 30)})
    volume = drawn(2, 30, seed=5)
    state = {name: value.clone() for name, value in network.state_dict().items()}

    def explain():
        with torch.no_grad():
            return network["second"](network["first"](volume).relu()).view(2, 2, 3, 5)

    order = {"second": network["second"], "first": network["first"]}
    found = cascading_randomisation(explain, order, generator=torch.Generator().manual_seed(0))
    assert list(found) == ["second", "first"]
    assert all(bool((value.abs() < 0.8).all()) for value in found.values())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    unchanged = cascading_randomisation(lambda: volume.view(2, 2, 3, 5), order, generator=torch.Generator())
    assert all(bool((value > 1 - 1e-12).all()) for value in unchanged.values()), "the image does not care"


def test_repeatability_takes_shifts_back():
    volume = drawn(2, 1, 8, 9, 10)
    moved = repeatability(
        lambda x: x[:, 0].abs(), volume, generator=torch.Generator().manual_seed(0), noise=0.0
    )
    torch.testing.assert_close(moved, torch.ones(2).double())
    place = torch.arange(720.0).view(8, 9, 10).expand(2, 8, 9, 10)
    stays = repeatability(lambda x: place, volume, generator=torch.Generator().manual_seed(1), shift=3)
    assert bool((stays < 1).all()), "a map that stays where it is does not follow the knee"
    noisy = repeatability(
        lambda x: x[:, 0].abs(), volume, generator=torch.Generator().manual_seed(0), noise=1.0
    )
    assert bool((noisy < 0.9).all())
