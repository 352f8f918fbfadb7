"""GradNorm, PCGrad and dynamic weight average against loops, and resumed from their state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier.losses import DynamicWeightAverage, GradNorm, LossWeighting, PCGrad
from oahier.specs import build, describe
from oahier.testing import check_weighting

WEIGHTINGS = [GradNorm(0.5), PCGrad(), DynamicWeightAverage(1.0)]
NAMES = ("oa", "kl", "term")


def made_losses(seed=0, names=NAMES):
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_()
    targets = {name: torch.randn(5, 4, generator=generator, dtype=torch.float64) for name in NAMES}
    return shared, {name: (shared - targets[name]).abs().pow(1.5).mean() for name in names}


def numpy_gradients(losses, shared):
    found = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses.values()]
    return [gradient.flatten().numpy() for gradient in found]


def pcgrad(gradients, orders):
    """Algorithm 1 of Yu et al. 2020."""
    total = np.zeros_like(gradients[0])
    for i, gradient in enumerate(gradients):
        projected = gradient.copy()
        for j in orders[i]:
            if j != i:
                dot = float(projected @ gradients[j])
                if dot < 0:
                    projected -= dot / float(gradients[j] @ gradients[j]) * gradients[j]
        total += projected
    return total


def test_pcgrad_is_its_algorithm():
    for seed in range(6):
        weighting = PCGrad()
        weighting.build(NAMES)
        weighting.steps.fill_(seed)
        shared, losses = made_losses(seed)
        gradients = numpy_gradients(losses, shared)
        generator = torch.Generator().manual_seed(seed + 1)
        orders = [torch.randperm(3, generator=generator).tolist() for _ in range(3)]
        objective = weighting(losses, shared=shared)
        (found,) = torch.autograd.grad(objective, shared)
        np.testing.assert_allclose(found.flatten(), pcgrad(gradients, orders), atol=1e-6)
        assert objective.item() == pytest.approx(sum(loss.item() for loss in losses.values()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 10, width=32), min_size=6, max_size=6))
def test_two_tasks_never_oppose_each_other_after_projection(values):
    """Projection of two conflicting gradients: neither loss grows to first order."""
    a, b = torch.tensor(values).reshape(2, 3)
    shared = torch.zeros(1, 3, requires_grad=True)
    losses = {"a": (shared[0] * a).sum(), "b": (shared[0] * b).sum()}
    (step,) = torch.autograd.grad(PCGrad()(losses, shared), shared)
    assert step.isfinite().all()
    assert (step[0] @ a).item() >= -1e-3
    assert (step[0] @ b).item() >= -1e-3
    if (a @ b).item() >= 0:
        torch.testing.assert_close(step[0], a + b)


def gradnorm(values, first, norms, v, alpha):
    """Objective and its derivative by v: Chen et al. 2018, algorithm 1, with weights K softmax(v)."""
    count = len(values)
    total = sum(math.exp(item) for item in v)
    w = [count * math.exp(item) / total for item in v]
    lengths = [w[i] * norms[i] for i in range(count)]
    mean = sum(lengths) / count
    ratios = [values[i] / first[i] for i in range(count)]
    rates = [ratio / (sum(ratios) / count) for ratio in ratios]
    signs = [math.copysign(1, lengths[i] - mean * rates[i] ** alpha) for i in range(count)]
    by_w = [signs[i] * norms[i] for i in range(count)]
    by_v = [
        sum(by_w[j] * w[j] * ((1.0 if i == j else 0.0) - w[i] / count) for j in range(count))
        for i in range(count)
    ]
    return sum(w[i] * values[i] for i in range(count)), by_v


def test_gradnorm_is_its_algorithm():
    weighting = GradNorm(alpha=1.5).double()
    weighting.build(NAMES)
    weighting.double()
    first = None
    for seed in range(5):
        with torch.no_grad():
            weighting.logits.copy_(torch.tensor([0.3, -0.2, 0.1]) * seed)
        shared, losses = made_losses(seed)
        values = [loss.item() for loss in losses.values()]
        first = first or values
        norms = [float(np.linalg.norm(gradient)) for gradient in numpy_gradients(losses, shared)]
        objective = weighting(losses, shared=shared)
        expected, by_v = gradnorm(values, first, norms, weighting.logits.tolist(), 1.5)
        assert objective.item() == pytest.approx(expected, rel=1e-6)
        slope, by_shared = torch.autograd.grad(objective, [weighting.logits, shared], retain_graph=True)
        np.testing.assert_allclose(slope, by_v, atol=1e-6)
        w = 3 * weighting.logits.softmax(dim=0)
        total = sum(
            weight.item() * loss for weight, loss in zip(w, made_losses(seed)[1].values(), strict=True)
        )
        assert total.item() == pytest.approx(expected, rel=1e-6)
        assert by_shared.isfinite().all()


def test_gradnorm_leaves_out_a_term_that_has_nothing_to_say():
    with_term, without = GradNorm(), GradNorm()
    for weighting in (with_term, without):
        weighting.build(NAMES)
    shared, losses = made_losses()
    losses.pop("term")
    silent = {**losses, "term": 0.0 * shared.sum()}
    slopes = [
        torch.autograd.grad(weighting(given, shared=shared), weighting.logits)[0]
        for weighting, given in ((with_term, silent), (without, losses))
    ]
    torch.testing.assert_close(*slopes)
    assert with_term.first[2] == 0.0
    assert torch.equal(with_term.first, without.first)
    nothing = with_term({name: 0.0 * shared.sum() for name in NAMES}, shared=shared)
    assert torch.autograd.grad(nothing, with_term.logits)[0].tolist() == [0.0, 0.0, 0.0]


def test_gradnorm_brings_gradients_to_one_length():
    weighting = GradNorm(alpha=0.0)
    weighting.build(["a", "b"])
    shared = torch.ones(1, 2, requires_grad=True)
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        losses = {"a": 9.0 * shared[0, 0].square(), "b": shared[0, 1].square()}
        weighting(losses, shared=shared).backward()
        optimizer.step()
    w = 2 * weighting.logits.softmax(dim=0)
    assert (9 * w[0]).item() == pytest.approx(w[1].item(), rel=0.1)


def dynamic_average(history, temperature):
    """Liu et al. 2019, eq. 7: weights of the epoch after these mean losses."""
    if len(history) < 2:
        return [1.0] * len(history[0])
    raised = [math.exp(history[-1][k] / history[-2][k] / temperature) for k in range(len(history[0]))]
    return [len(raised) * item / sum(raised) for item in raised]


def test_dynamic_average_is_its_formula_and_the_first_epochs_weigh_alike():
    weighting = DynamicWeightAverage(temperature=2.0)
    weighting.build(NAMES)
    epochs = [[[3.0, 1.0, 2.0], [1.0, 1.0, 4.0]], [[1.0, 1.0, 1.0], [2.0, 0.5, 1.0]], [[0.5, 0.4, 1.2]]]
    history = []
    for epoch, steps in enumerate(epochs):
        weighting.begin_epoch(epoch)
        weighting.begin_epoch(epoch)  # a resumed epoch is begun again
        if history:
            np.testing.assert_allclose(weighting.weights(), dynamic_average(history, 2.0), rtol=1e-6)
        for values in steps:
            losses = {
                name: torch.tensor(value, requires_grad=True)
                for name, value in zip(NAMES, values, strict=True)
            }
            weights = weighting.weights()
            assert weighting(losses).item() == pytest.approx(float(weights @ torch.tensor(values)), rel=1e-6)
        history.append(np.mean(steps, axis=0).tolist())
    weighting.begin_epoch(3)
    np.testing.assert_allclose(weighting.weights(), dynamic_average(history, 2.0), rtol=1e-6)
    assert weighting.weights().sum().item() == pytest.approx(3.0)


def test_dynamic_average_keeps_the_mean_of_a_task_without_labels():
    weighting = DynamicWeightAverage()
    weighting.build(["oa", "kl"])
    for epoch, losses in enumerate([{"oa": 2.0, "kl": 1.0}, {"oa": 1.0}, {"oa": 1.0, "kl": 4.0}]):
        weighting.begin_epoch(epoch)
        weighting({name: torch.tensor(value, requires_grad=True) for name, value in losses.items()})
    weighting.begin_epoch(3)
    assert weighting.means.tolist() == [[1.0, 1.0], [1.0, 4.0]]


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=lambda item: type(item).__name__)
def test_contracts_hold(weighting):
    check_weighting(weighting)
    check_weighting(weighting, ["a", "b", "c"])
    assert describe(build(describe(weighting), LossWeighting)) == describe(weighting)


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=lambda item: type(item).__name__)
def test_nothing_is_learned_from_evaluation(weighting):
    made = build(describe(weighting), LossWeighting)
    made.build(NAMES)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    shared, losses = made_losses()
    made.eval()
    made(losses, shared=shared)
    made.train()
    with torch.no_grad():
        made(losses, shared=shared)
    assert all(torch.equal(before[key], value) for key, value in made.state_dict().items())


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=lambda item: type(item).__name__)
def test_a_loss_that_the_embedding_does_not_reach_is_joined(weighting):
    made = build(describe(weighting), LossWeighting)
    made.build(NAMES)
    shared, losses = made_losses()
    losses["term"], losses["kl"] = torch.tensor(0.0), (torch.ones(2, requires_grad=True)).sum()
    objective = made(losses, shared=shared)
    assert objective.isfinite()
    (gradient,) = torch.autograd.grad(objective, shared)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradNorm(-1.0), "GradNorm: alpha must be at least 0, got -1.0"),
        (lambda: DynamicWeightAverage(0.0), "temperature must be positive, got 0.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
