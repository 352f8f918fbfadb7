from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from oahier.heads import BinaryHead, SoftmaxHead
from oahier.heads.criterion_head import CriterionHead
from oahier.losses import BinaryCrossEntropy, Criterion, CrossEntropy, Focal
from oahier.losses.cross_entropy import balanced_weights
from oahier.specs import build, describe
from oahier.types import TrainingFacts

logit_rows = st.lists(st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4), min_size=1, max_size=7)


def _case(logits: list[list[float]]) -> tuple[Tensor, Tensor]:
    return torch.tensor(logits), torch.arange(len(logits)) % 4


@settings(max_examples=50, deadline=None)
@given(logit_rows, st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropy_is_that_of_torch_bit_by_bit(logits: list[list[float]], smoothing: float) -> None:
    """Weights that were trained before criteria existed come out the same."""
    z, y = _case(logits)
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    head = SoftmaxHead(4, label_smoothing=smoothing)
    loss, expected = head.loss(ours, y), F.cross_entropy(theirs, y, label_smoothing=smoothing)
    (0.3 * loss).backward()
    (0.3 * expected).backward()
    assert loss.item() == expected.item()
    assert torch.equal(ours.grad, theirs.grad)


@settings(max_examples=50, deadline=None)
@given(logit_rows, st.sampled_from([0.0, 0.1]))
def test_weighted_rows_are_those_of_torch(logits: list[list[float]], smoothing: float) -> None:
    z, y = _case(logits)
    weights = [0.5, 1.0, 2.0, 4.0]
    criterion = CrossEntropy(smoothing, weights)
    criterion.build(4)
    expected = F.cross_entropy(
        z, y, weight=torch.tensor(weights), label_smoothing=smoothing, reduction="none"
    )
    torch.testing.assert_close(criterion.row_losses(z.log_softmax(dim=1), y), expected)
    torch.testing.assert_close(criterion.loss(z.log_softmax(dim=1), y), expected.mean())


def test_balanced_weights_have_mean_one_over_the_training_knees() -> None:
    counts = torch.tensor([50, 10, 0, 40])
    weights = balanced_weights(counts.tolist())
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)
    torch.testing.assert_close((weights * counts)[[0, 1, 3]], torch.full((3,), 100 / 3))


@settings(deadline=None)
@given(logit_rows, st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
def test_focal_is_its_formula(logits: list[list[float]], gamma: float) -> None:
    z, y = _case(logits)
    p = z.double().softmax(dim=1)[torch.arange(len(y)), y]
    expected = -((1 - p) ** gamma) * p.log()
    found = Focal(gamma).row_losses(z.double().log_softmax(dim=1), y)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_focal_slope_is_finite_for_a_certain_row() -> None:
    log_p = torch.tensor([[0.0, -200.0]], requires_grad=True)
    Focal(0.5).loss(log_p, torch.tensor([0])).backward()
    assert log_p.grad.isfinite().all()


def test_binary_head_takes_a_criterion_on_log_probabilities() -> None:
    z, y = torch.tensor([[0.3], [-1.2]]), torch.tensor([1, 0])
    head = BinaryHead(criterion=Focal(0.0))
    torch.testing.assert_close(head.row_losses(z, y), BinaryHead().row_losses(z, y))
    head = BinaryHead(criterion=CrossEntropy(class_weights=[1.0, 3.0]))
    head.build(1)
    torch.testing.assert_close(head.loss(z, y), BinaryHead(positive_weight=3.0).loss(z, y))


def test_binary_cross_entropy_refuses_a_logit_a_class() -> None:
    head = SoftmaxHead(2, criterion=BinaryCrossEntropy())
    with pytest.raises(ValueError, match="expected one logit a row, as BinaryHead has, got 2"):
        head.loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))


@pytest.mark.parametrize(
    "criterion",
    [
        CrossEntropy(0.1, [1.0, 2.0]),
        CrossEntropy(class_weights="balanced"),
        BinaryCrossEntropy(2.0),
        Focal(1.0),
    ],
)
def test_serial_form(criterion: Criterion) -> None:
    assert describe(build(describe(criterion), Criterion)) == describe(criterion)
    head = SoftmaxHead(2, criterion=criterion)
    assert type(build(describe(head), SoftmaxHead).criterion) is type(criterion)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(1.0), r"label_smoothing must lie in \[0, 1\), got 1.0"),
        (lambda: CrossEntropy(class_weights=[1.0, -1.0]), r"must be finite and >= 0, got \[1.0, -1.0\]"),
        (lambda: CrossEntropy(class_weights="equal"), "expected numbers or 'balanced', got 'equal'"),
        (lambda: CrossEntropy(class_weights=[1.0, 2.0]).build(5), "expected 5 class_weights, .* got 2"),
        (lambda: BinaryCrossEntropy("even"), "expected a number or 'balanced', got 'even'"),
        (lambda: BinaryCrossEntropy(0.0), "positive_weight must be positive, got 0.0"),
        (lambda: Focal(-1.0), "gamma must be at least 0, got -1.0"),
        (lambda: SoftmaxHead(label_smoothing=0.1, criterion=Focal()), "give label_smoothing to the"),
        (lambda: BinaryHead(positive_weight=2.0, criterion=Focal()), "give positive_weight to the"),
        (lambda: SoftmaxHead(target=[]), "target: expected a column or several"),
        (lambda: TrainingFacts({"oa": [1, 1]}, ("kl",)).counts(5), "of 5 classes of target 'kl'"),
        (lambda: TrainingFacts({"kl": [1, 1, 1]}, ("kl",)).counts(2), "expected those of 2 classes"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


class Anything(CriterionHead):
    def __init__(self, criterion: Any) -> None:
        super().__init__(5, criterion)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(dim=1)


def test_a_criterion_is_asked_for() -> None:
    with pytest.raises(TypeError, match=r"Anything: criterion: expected an oahier.losses.Criterion, got"):
        Anything(torch.nn.CrossEntropyLoss())


@pytest.mark.parametrize(("counts", "weight"), [((6, 2), 3.0), ((6, 0), 1.0), ((0, 2), 1.0)])
def test_a_class_without_knees_leaves_the_positive_weight_at_one(
    counts: tuple[int, int], weight: float
) -> None:
    criterion = BinaryCrossEntropy("balanced")
    criterion.prepare(TrainingFacts({"oa": counts}, targets=("oa",)))
    assert criterion.positive_weight.tolist() == [weight]
