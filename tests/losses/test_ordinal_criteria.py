"""Criteria of ordered and of noisy labels, against dlordinal and their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dlordinal.losses import CDWCELoss, EMDLoss, SORDLoss
from dlordinal.soft_labelling import get_beta_soft_labels, get_triangular_soft_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import oahier as oh
from oahier.testing import check_criterion
from oahier.types import TrainingFacts

THREE = oh.Hierarchy("kl", {"stage": (0, 1, 2, 2, 2), "oa": (0, 0, 1, 1, 1)})
CRITERIA = [
    oh.Sord(), oh.TriangularLabels(), oh.BetaLabels(), oh.SquaredEarthMover(), oh.ClassDistanceCrossEntropy(),
    oh.ClassDistanceCrossEntropy(2.0, margin=0.1), oh.OrdinalLogLoss(), oh.GeneralisedCrossEntropy(),
    oh.SymmetricCrossEntropy(), oh.LogitAdjusted(), oh.HierarchicalCrossEntropy(),
    oh.HierarchicalCrossEntropy(0.5, 0.1, hierarchy=THREE), oh.CumulativeCrossEntropy(),
]  # fmt: skip


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda one: type(one).__name__)
def test_contract(criterion: oh.Criterion) -> None:
    check_criterion(criterion)


def _rows(seed: int = 0, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(2 * classes, classes, generator=generator, dtype=torch.float64)
    return z, torch.arange(2 * classes) % classes


def _loss(criterion: oh.Criterion, z: Tensor, y: Tensor, facts: TrainingFacts | None = None) -> Tensor:
    criterion.build(z.shape[1])
    if facts is not None:
        criterion.prepare(facts)
    return criterion.row_losses(z.log_softmax(dim=1), y)


def test_losses_of_dlordinal() -> None:
    z, y = _rows()
    torch.testing.assert_close(
        _loss(oh.SquaredEarthMover(), z, y).mean(), EMDLoss(5)(z, y), rtol=0, atol=1e-6
    )
    for alpha in (0.5, 3.0):
        expected = SORDLoss(alpha, 5, y)(z, y)
        torch.testing.assert_close(_loss(oh.Sord(alpha), z, y).mean(), expected, rtol=0, atol=1e-6)
        for margin in (0.0, 0.2):
            expected = CDWCELoss(5, alpha, margin=margin)(z, y)
            found = _loss(oh.ClassDistanceCrossEntropy(alpha, margin), z, y).mean()
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # theirs adds 1e-8 to a sum


@pytest.mark.parametrize("classes", [3, 5])
def test_soft_labels_of_dlordinal(classes: int) -> None:
    np.testing.assert_allclose(oh.BetaLabels().table(classes), get_beta_soft_labels(classes), atol=1e-6)
    for alpha in (0.01, 0.1, 0.2):
        expected = get_triangular_soft_labels(classes, alpha)
        np.testing.assert_allclose(oh.TriangularLabels(alpha).table(classes), expected, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4, 7, 10])
def test_soft_labels_of_any_number_of_classes_are_distributions(classes: int) -> None:
    for made in (oh.BetaLabels(), oh.TriangularLabels(), oh.Sord()):
        table = made.table(classes)
        np.testing.assert_allclose(table.sum(dim=1), 1.0, atol=1e-12)
        assert table.argmax(dim=1).tolist() == list(range(classes))


def test_formulas() -> None:
    z, y = _rows(1)
    p, rows = z.softmax(dim=1), torch.arange(len(y))
    distance = (y[:, None] - torch.arange(5)).abs()
    own = p[rows, y]
    expected = {
        oh.OrdinalLogLoss(1.5): -(distance**1.5 * (1 - p).log()).sum(dim=1),
        oh.OrdinalLogLoss(1.0, (2.0 * (torch.arange(5)[:, None] != torch.arange(5))).tolist()):
            -(2.0 * (distance > 0) * (1 - p).log()).sum(dim=1),
        oh.GeneralisedCrossEntropy(0.7): (1 - own**0.7) / 0.7,
        oh.SymmetricCrossEntropy(0.3, 2.0): -0.3 * own.log() + 2.0 * 4.0 * (1 - own),
        oh.CumulativeCrossEntropy(): F.binary_cross_entropy(
            1 - p.cumsum(dim=1)[:, :-1], (y[:, None] > torch.arange(4)).double(), reduction="none"
        ).sum(dim=1),
    }  # fmt: skip
    for criterion, rows_expected in expected.items():
        torch.testing.assert_close(_loss(criterion, z, y), rows_expected, rtol=1e-6, atol=1e-6)


def test_logit_adjustment_adds_the_log_of_training_shares() -> None:
    """Equals cross-entropy of shifted logits, and so does not ask which head gives probabilities."""
    z, y = _rows(2)
    facts = TrainingFacts({"kl": [50, 30, 15, 5, 0]}, ("kl",))
    shares = torch.tensor([50, 30, 15, 5, 1], dtype=torch.float64) / 101
    expected = F.cross_entropy(z + 0.5 * shares.log(), y, reduction="none")
    torch.testing.assert_close(_loss(oh.LogitAdjusted(0.5), z, y, facts), expected, rtol=0, atol=1e-6)


def test_hierarchical_cross_entropy_is_the_published_matrices() -> None:
    """R sums probabilities of nodes, T spreads the label upwards: loss = -T' log(R p), for three levels."""
    z, y = _rows(3)
    p, d, smooth = z.softmax(dim=1).numpy(), 0.7, 0.1
    nodes = [*([k] for k in range(5)), [0], [1], [2, 3, 4], [0, 1], [2, 3, 4]]
    reach = np.array([[float(k in node) for k in range(5)] for node in nodes])
    weights = np.repeat([d, (1 - d) * d, (1 - d) ** 2], [5, 3, 2])
    q = np.full((len(y), 5), smooth / 4)
    q[np.arange(len(y)), y] = 1 - smooth
    expected = -((q @ (weights[:, None] * reach).T) * np.log(p @ reach.T)).sum(axis=1)
    found = _loss(oh.HierarchicalCrossEntropy(d, smooth, hierarchy=THREE), z, y)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.floats(0.1, 40), st.integers(0, 10_000))
def test_no_criterion_is_smaller_for_a_worse_guess(index: int, sharp: float, seed: int) -> None:
    """Certainty of the right grade costs no more than certainty of another one; further is no cheaper."""
    criterion = CRITERIA[index]
    y = seed % 5
    z = sharp * torch.eye(5, dtype=torch.float64)
    rows = _loss(criterion, z, torch.full((5,), y), TrainingFacts({"kl": [1] * 5}, ("kl",)))
    assert rows.isfinite().all()
    assert rows[y] <= rows.min() + 1e-9
    if not isinstance(criterion, oh.HierarchicalCrossEntropy | oh.TriangularLabels):
        assert (rows[y:].diff() >= -1e-6).all()
        assert (rows[: y + 1].diff() <= 1e-6).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: oh.Sord(0.0), "Sord: alpha must be positive, got 0.0"),
        (lambda: oh.TriangularLabels(0.3), r"alpha must lie in \(0, 0.2\], got 0.3"),
        (lambda: oh.ClassDistanceCrossEntropy(-1.0), "ClassDistanceCrossEntropy: alpha must be positive"),
        (lambda: oh.ClassDistanceCrossEntropy(margin=1.0), r"margin must lie in \[0, 1\), got 1.0"),
        (lambda: oh.OrdinalLogLoss(distances=[[0.0]]).build(5), "expected 5 rows of 5 numbers of 0 or more"),
        (lambda: oh.GeneralisedCrossEntropy(0.0), r"q must lie in \(0, 1\], got 0.0"),
        (lambda: oh.SymmetricCrossEntropy(0.0, 0.0), "weights of 0 or more, not both 0"),
        (lambda: oh.LogitAdjusted(-1.0), "tau must be at least 0, got -1.0"),
        (lambda: oh.HierarchicalCrossEntropy(0.0), r"expected a dilution in \(0, 1\] .* got 0.0 and 0.0"),
    ],
)
def test_bad_arguments_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
