from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oahier.losses import FixedWeights, LossWeighting, UncertaintyWeights
from oahier.specs import build, describe

finite = st.floats(0, 50)


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(finite, finite), min_size=1))
def test_fixed_weights_are_a_weighted_sum(tasks: dict[str, tuple[float, float]]) -> None:
    weighting = FixedWeights({name: weight for name, (weight, _) in tasks.items()})
    weighting.build(list(tasks))
    losses = {name: torch.tensor(loss, dtype=torch.float64) for name, (_, loss) in tasks.items()}
    expected = sum(weight * loss for weight, loss in tasks.values())
    assert weighting(losses).item() == pytest.approx(expected, rel=1e-12)


def test_weights_are_one_by_default() -> None:
    weighting = FixedWeights()
    weighting.build(["oa", "kl"])
    assert weighting({"oa": torch.tensor(1.5), "kl": torch.tensor(2.0)}).item() == 3.5


def test_absent_losses_do_not_count() -> None:
    weighting = FixedWeights({"oa": 3.0, "kl": 1.0})
    assert weighting({"kl": torch.tensor(2.0)}).item() == 2.0


@pytest.mark.parametrize("names", [["oa"], ["oa", "kl", "age"], ["oa", "lk"]])
def test_weights_must_name_the_heads(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected \[.*\], got \['kl', 'oa'\]"):
        FixedWeights({"oa": 1.0, "kl": 1.0}).build(names)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_must_be_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ValueError, match=r"loss_weights\['kl'\] must be a finite number >= 0"):
        FixedWeights({"kl": weight})


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(-3, 3)), min_size=1, max_size=4))
def test_uncertainty_weights_follow_kendall(tasks: list[tuple[float, float]]) -> None:
    """sum_h exp(-s_h) L_h + s_h / 2, and its derivative 1/2 - exp(-s_h) L_h."""
    names = [f"head{index}" for index in range(len(tasks))]
    weighting = UncertaintyWeights()
    weighting.build(names)
    with torch.no_grad():
        for name, (_, s) in zip(names, tasks, strict=True):
            weighting.log_variances[name].copy_(torch.tensor(s))
    losses = {name: torch.tensor(loss) for name, (loss, _) in zip(names, tasks, strict=True)}
    objective = weighting(losses)
    expected = sum(math.exp(-s) * loss + s / 2 for loss, s in tasks)
    assert objective.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    objective.backward()
    for name, (loss, s) in zip(names, tasks, strict=True):
        gradient = weighting.log_variances[name].grad
        assert gradient.item() == pytest.approx(0.5 - math.exp(-s) * loss, rel=1e-4, abs=1e-4)


def test_uncertainty_settles_where_the_theory_says() -> None:
    """For a constant loss L the minimum lies at exp(s) = 2 L."""
    weighting = UncertaintyWeights()
    weighting.build(["kl"])
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        weighting({"kl": torch.tensor(1.7)}).backward()
        optimizer.step()
    assert math.exp(weighting.log_variances["kl"].item()) == pytest.approx(3.4, rel=1e-3)


@pytest.mark.parametrize("weighting", [FixedWeights({"oa": 2.0}), FixedWeights(), UncertaintyWeights()])
def test_serial_form(weighting: LossWeighting) -> None:
    rebuilt = build(describe(weighting), LossWeighting)
    assert type(rebuilt) is type(weighting)
    assert describe(rebuilt) == describe(weighting)
