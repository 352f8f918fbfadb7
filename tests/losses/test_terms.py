"""Terms against loops over knees in NumPy, and on batches that have nothing to say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oahier as oh
from oahier.losses import AxisOrder, HierarchyConsistency, OrdinalContrast, RankNContrast, Term
from oahier.specs import build, describe
from oahier.testing import check_term

TERMS = [HierarchyConsistency(), RankNContrast(), OrdinalContrast(), AxisOrder()]


def step_of(embedding, labels, log_probabilities=None):
    return {
        "embedding": embedding,
        "targets": {"kl": labels, "jsw": torch.where(labels < 0, torch.nan, 5.0 - labels.double())},
        "log_probabilities": log_probabilities or {},
    }


def rank_n_contrast(v, y, temperature):
    total, pairs = 0.0, 0
    for i in range(len(v)):
        for j in range(len(v)):
            if i != j:
                farther = [k for k in range(len(v)) if k != i and abs(y[i] - y[k]) >= abs(y[i] - y[j])]
                below = sum(math.exp(-np.linalg.norm(v[i] - v[k]) / temperature) for k in farther)
                total -= math.log(math.exp(-np.linalg.norm(v[i] - v[j]) / temperature) / below)
                pairs += 1
    return total / pairs


def ordinal_contrast(v, y, temperature, bandwidth):
    z = [row / np.linalg.norm(row) for row in v]
    total = 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        kernel = {j: math.exp(-((y[i] - y[j]) ** 2) / (2 * bandwidth**2)) for j in others}
        below = sum(math.exp(z[i] @ z[k] / temperature) for k in others)
        for j in others:
            share = kernel[j] / sum(kernel.values())
            total -= share * math.log(math.exp(z[i] @ z[j] / temperature) / below)
    return total / len(z)


def supervised_contrast(v, y, temperature):
    """Khosla et al. 2020, eq. 2, over anchors with a positive."""
    z = [row / np.linalg.norm(row) for row in v]
    values = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        below = sum(math.exp(z[i] @ z[k] / temperature) for k in others)
        positives = [j for j in others if y[j] == y[i]]
        logs = [math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in positives]
        values.append(-sum(logs) / len(positives))
    return sum(values) / len(values)


def axis_order(v, y, direction):
    along = v @ (direction / np.linalg.norm(direction))
    pairs = [(i, j) for i in range(len(v)) for j in range(len(v)) if y[i] > y[j]]
    return sum(math.log1p(math.exp(-(along[i] - along[j]))) for i, j in pairs) / len(pairs)


def consistency(p, q):
    total = 0.0
    for coarse, fine in zip(p, q, strict=True):
        sums = [fine[0] + fine[1], fine[2] + fine[3] + fine[4]]
        total += sum(c * math.log(c / s) for c, s in zip(coarse, sums, strict=True))
    return total / len(p)


@pytest.fixture(scope="module")
def knees():
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(13, 6, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 2, 2, -1, 4, 1, -1, 3])
    known = labels >= 0
    return embedding, labels, embedding[known].numpy(), labels[known].tolist()


def test_rank_n_contrast_is_its_loop(knees):
    embedding, labels, v, y = knees
    for target, values in (("kl", y), ("jsw", [5.0 - label for label in y])):
        term = RankNContrast(target, temperature=1.5)
        found = term(step_of(embedding, labels))
        assert found.item() == pytest.approx(rank_n_contrast(v, values, 1.5), abs=1e-6)


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 3.0])
def test_ordinal_contrast_is_its_loop(knees, bandwidth):
    embedding, labels, v, y = knees
    found = OrdinalContrast(temperature=0.3, bandwidth=bandwidth)(step_of(embedding, labels))
    assert found.item() == pytest.approx(ordinal_contrast(v, y, 0.3, bandwidth), abs=1e-6)


def test_ordinal_contrast_of_no_bandwidth_is_the_supervised_one(knees):
    embedding, labels, v, y = knees
    found = OrdinalContrast(temperature=0.3, bandwidth=1e-3)(step_of(embedding, labels))
    assert found.item() == pytest.approx(supervised_contrast(v, y, 0.3), abs=1e-6)


def test_axis_order_is_its_loop(knees):
    embedding, labels, v, y = knees
    term = AxisOrder()
    term.build(6)
    term.double()
    found = term(step_of(embedding, labels))
    assert found.item() == pytest.approx(axis_order(v, y, term.direction.detach().numpy()), abs=1e-6)


def test_consistency_is_its_loop_and_zero_where_levels_agree():
    torch.manual_seed(0)
    p, q = torch.rand(9, 2).double().softmax(dim=1), torch.randn(9, 5).double().softmax(dim=1)
    step = step_of(None, torch.zeros(9), {"oa": p.log(), "kl": q.log()})
    assert HierarchyConsistency()(step).item() == pytest.approx(consistency(p.tolist(), q.tolist()), abs=1e-6)
    step["log_probabilities"]["oa"] = torch.stack([q[:, :2].sum(dim=1), q[:, 2:].sum(dim=1)], dim=1).log()
    assert HierarchyConsistency()(step).item() == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=7, max_size=7), min_size=1, max_size=4))
def test_consistency_is_finite_and_not_negative_at_extremes(rows):
    logits = torch.tensor(rows, requires_grad=True)
    log_p = {"oa": logits[:, :2].log_softmax(dim=1), "kl": logits[:, 2:].log_softmax(dim=1)}
    value = HierarchyConsistency()({"log_probabilities": log_p})
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() >= -1e-4
    assert gradient.isfinite().all()


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_contracts_hold(term):
    check_term(term)
    assert describe(build(describe(term), Term)) == describe(term)


@pytest.mark.parametrize("term", TERMS[1:], ids=lambda term: type(term).__name__)
@pytest.mark.parametrize("labels", [[-1] * 4, [3, -1, -1, -1], [2] * 4, [0, 0, 4, 4]])
@pytest.mark.parametrize("same", [False, True])
def test_batches_with_little_to_say_are_finite(term, labels, same):
    """No label, one, one class; and equal embeddings, as a network that collapsed has them."""
    embedding = (torch.zeros(4, 3) if same else torch.randn(4, 3)).requires_grad_()
    made = build(describe(term), Term)
    made.build(3)
    value = made(step_of(embedding, torch.tensor(labels)))
    (gradient,) = torch.autograd.grad(value, embedding)
    assert value.isfinite()
    assert gradient.isfinite().all()
    if max(labels) < 0 or labels.count(-1) == 3:
        assert value.item() == 0.0


@pytest.mark.parametrize("term", TERMS[1:], ids=lambda term: type(term).__name__)
def test_terms_order_the_embedding(term):
    """Minimised alone, each arranges knees by grade along a line."""
    torch.manual_seed(0)
    labels = torch.arange(40) % 5
    embedding = torch.randn(40, 4).requires_grad_()
    made = build(describe(term), Term)
    made.build(4)
    optimizer = torch.optim.Adam([embedding, *made.parameters()], lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        made(step_of(embedding, labels)).backward()
        optimizer.step()
    means = torch.stack([embedding[labels == grade].mean(dim=0) for grade in range(5)]).detach()
    distances = torch.cdist(means, means)
    for grade in range(5):
        left, right = distances[grade, : grade + 1].flip(0), distances[grade, grade:]
        assert (left.diff() > 0).all(), (grade, left)
        assert (right.diff() > 0).all(), (grade, right)


def test_a_target_or_head_that_is_missing_is_named():
    step = step_of(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"reads target 'moaks', but the batch has \['jsw', 'kl'\]; add it"):
        RankNContrast("moaks")(step)
    with pytest.raises(ValueError, match=r"HierarchyConsistency: expected heads \('oa', 'kl'\), got \[\]"):
        HierarchyConsistency()(step)


def test_other_hierarchies_are_lists_of_parents():
    p, q = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.1, 0.1, 0.3, 0.25, 0.25]])
    step = {"log_probabilities": {"jsn": p.log(), "kl": q.log()}}
    assert HierarchyConsistency("jsn", "kl", [0, 0, 1, 2, 2])(step).item() == pytest.approx(0.0, abs=1e-7)


def test_a_model_trains_with_all_terms_and_a_weighting():
    from oahier.losses import PCGrad
    from oahier.testing import TinyEncoder, tiny_batch

    model = oh.HierarchicalClassifier(
        TinyEncoder(), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}, PCGrad(),
        terms={f"t{index}": build(describe(term), Term) for index, term in enumerate(TERMS)},
    )  # fmt: skip
    for kl in ((0, 1, 3, 4), (2, 2, 2, 2), (-1, -1, -1, -1)):
        model.zero_grad()
        loss = model._step(tiny_batch(kl), "val")["loss"]
        loss.backward()
        assert loss.isfinite()
        assert all(item.grad is not None and item.grad.isfinite().all() for item in model.parameters())
