"""Components that keep the contracts pass; those that break one are told which."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import oahier as oh
from oahier.hierarchy import DEFAULT_HIERARCHY
from oahier.losses import BinaryCrossEntropy, CrossEntropy, FixedWeights, Focal, LossWeighting, Term
from oahier.testing import (
    ContractError,
    TinyEncoder,
    assert_coherent,
    check_criterion,
    check_head,
    check_term,
    check_weighting,
)
from oahier.types import Step

pytestmark = pytest.mark.usefixtures("one_thread")


class Cumulative(oh.Head):
    """P(grade > k) = sigmoid(z_k), with four logits for five grades."""

    def __init__(self) -> None:
        super().__init__(5, num_logits=4)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        above = logits.cummin(dim=1).values
        gap = (above[:, :-1] - above[:, 1:]).clamp(min=1e-6)
        between = F.logsigmoid(above[:, :-1]) + F.logsigmoid(-above[:, 1:]) + torch.log(-torch.expm1(-gap))
        return torch.cat([F.logsigmoid(-above[:, :1]), between, F.logsigmoid(above[:, -1:])], dim=1)

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        above = (labels[:, None] > torch.arange(4, device=labels.device)).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, above, reduction="none").mean(dim=1)


class Marginal(oh.Head):
    """P(OA) as the sum of the grades' probabilities."""

    reads_as = "log_probabilities"

    def __init__(self, reads: str = "kl") -> None:
        super().__init__(2, num_logits=5, reads=reads)

    def build(self, in_features: int) -> None:
        if in_features != 5:
            raise ValueError(f"expected five grades, got {in_features}")

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return DEFAULT_HIERARCHY.log_marginal(logits, "kl", "oa")

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss(self.log_probabilities(logits), labels, reduction="none")


class MarginalOfLogits(Marginal):
    """The same for the logits of a softmax, and wrong for any others."""

    reads_as = "logits"

    def build(self, in_features: int) -> None:
        pass

    def log_probabilities(self, logits: Tensor) -> Tensor:
        p = logits.softmax(dim=1)
        return torch.stack([p[:, :2].sum(dim=1), p[:, 2:].sum(dim=1)], dim=1).log()


@pytest.mark.parametrize(
    ("head", "over"),
    [
        (Marginal(), Cumulative()),
        (Marginal(), None),
        (oh.SoftmaxHead(2, reads="kl"), Cumulative()),
        (Cumulative(), None),
        (oh.SoftmaxHead(criterion=CrossEntropy(0.1, "balanced"), target=("kl", "kl_2")), None),
        (oh.BinaryHead(criterion=BinaryCrossEntropy("balanced")), None),
        (oh.SoftmaxHead(3, criterion=Focal()), None),
    ],
)
def test_good_heads(head: oh.Head, over: oh.Head | None) -> None:
    check_head(head, over)


def test_the_example_head() -> None:
    path = Path(__file__).parents[2] / "examples" / "custom_head.py"
    spec: Any = importlib.util.spec_from_file_location("custom_head_of_the_examples", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    head = module.CumulativeHead()
    logits = torch.tensor([[1.5, 0.3, -1.0, -3.0]])
    torch.testing.assert_close(head.log_probabilities(logits), Cumulative().log_probabilities(logits))


def test_marginal_head_reads_what_the_grades_say() -> None:
    cumulative, marginal = Cumulative(), Marginal()
    logits = torch.tensor([[1.5, 0.3805, -1.0, -3.0]])
    right = marginal.probabilities(marginal.input_from(cumulative, logits))
    assert right[0, 1].item() == pytest.approx(0.594, abs=1e-4)
    assert_coherent(cumulative.probabilities(logits), right, levels=("kl", "oa"))
    wrong = MarginalOfLogits().probabilities(logits)
    with pytest.raises(ContractError, match=r"P\(oa\) differs from what P\(kl\) implies by up to 0\.\d+"):
        assert_coherent(cumulative.probabilities(logits), wrong, levels=("kl", "oa"))


@pytest.mark.parametrize("over", [None, Cumulative(), oh.SoftmaxHead()])
def test_a_head_without_parameters_that_reads_logits(over: oh.Head | None) -> None:
    with pytest.raises(ContractError, match="MarginalOfLogits: it reads logits and has no parameters"):
        check_head(MarginalOfLogits(), over)
    with pytest.raises(ValueError, match="has no parameters to learn what the 4 logits of Cumulative"):
        oh.HierarchicalClassifier(TinyEncoder(), {"oa": MarginalOfLogits(), "kl": Cumulative()})


class Broken(oh.SoftmaxHead):
    """A softmax head with one thing wrong."""

    def __init__(self, fault: str = "") -> None:
        super().__init__(3)
        self.fault = fault

    def build(self, in_features: int) -> None:
        super().build(in_features)
        if self.fault == "unprepared":
            self.register_buffer("prior", torch.full((3,), torch.nan))

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows = super().row_losses(logits, labels)
        if self.fault == "scalar":
            return rows.mean()
        return rows + rows.mean() if self.fault == "neighbours" else rows

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows = self.row_losses(logits, labels)
        return {"sum": rows.sum(), "constant": 0 * logits.sum()}.get(self.fault, rows.mean())

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return super().log_probabilities(logits) - 0.1 * (self.fault == "logs")

    def probabilities(self, logits: Tensor) -> Tensor:
        return (1 + (self.fault == "two")) * super().probabilities(logits)

    def severity(self, logits: Tensor) -> Tensor:
        severity = super().severity(logits)
        return 2 - severity if self.fault == "backwards" else severity


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("scalar", r"Broken.row_losses: expected one loss a row \(12,\), got shape \(\)"),
        ("neighbours", "Broken.row_losses: the loss of a row depends on the other rows"),
        ("sum", "Broken.loss: expected the mean over rows"),
        ("constant", "Broken.loss: expected the mean over rows"),
        ("logs", "Broken.log_probabilities: expected the logarithms of its probabilities"),
        ("two", "Broken.probabilities: expected rows that sum to one"),
        ("backwards", "Broken.severity: after learning a separable problem"),
        ("unprepared", "Broken.prepare: the buffer prior holds NaN"),
    ],
)
def test_broken_heads(fault: str, message: str) -> None:
    check_head(Broken())
    with pytest.raises(ContractError, match=message):
        check_head(Broken(fault))


@pytest.mark.parametrize(
    "criterion", [CrossEntropy(), CrossEntropy(0.1), CrossEntropy(class_weights="balanced"), Focal(0.5)]
)
def test_good_criteria(criterion: oh.Criterion) -> None:
    check_criterion(criterion)


def test_a_criterion_on_one_logit() -> None:
    check_criterion(BinaryCrossEntropy("balanced"), num_classes=2, num_logits=1)


class AnyCriterion(oh.Criterion):
    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        if fault == "unprepared":
            self.register_buffer("weights", torch.full((3,), torch.nan))

    def row_losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        rows = F.nll_loss(scores, labels, reduction="none")
        if self.fault == "neighbours":
            return rows / len(rows)
        if self.fault == "probabilities":
            return -(scores.exp().gather(1, labels[:, None])[:, 0].log())
        return rows

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        rows = self.row_losses(scores, labels)
        return rows.sum() if self.fault == "sum" else rows.mean()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("neighbours", "the loss of a row depends on the other rows"),
        ("probabilities", "row_losses: not finite"),
        ("sum", "expected the mean over rows"),
        ("unprepared", "the buffer weights holds NaN"),
    ],
)
def test_broken_criteria(fault: str, message: str) -> None:
    check_criterion(AnyCriterion())
    with pytest.raises(ContractError, match=message):
        check_criterion(AnyCriterion(fault))


class Tied(Term):
    """Squared distance of P(OA) from what the grades imply."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.calls = 0

    def build(self, num_features: int) -> None:
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, step: Step) -> Tensor:
        self.calls += 1
        p = step["log_probabilities"]["oa"].exp()
        rows = (p - DEFAULT_HIERARCHY.marginal(step["log_probabilities"]["kl"].exp(), "kl", "oa")).square()
        if self.fault == "rows":
            return rows.sum(dim=1)
        if self.fault == "nan":
            return rows[step["targets"]["kl"] != -1].mean()
        if self.fault == "counts":
            return self.calls * rows.mean()
        if self.fault == "writes":
            step["targets"]["kl"].zero_()
        return self.scale * rows.mean()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("rows", r"Tied.forward: expected a scalar, got shape \(4,\)"),
        ("nan", r"Tied: nan for grades \(-1, -1\)"),
        ("counts", "Tied: another value for the same step"),
        ("writes", "Tied: it changes the targets"),
    ],
)
def test_terms(fault: str, message: str) -> None:
    check_term(Tied())
    with pytest.raises(ContractError, match=message):
        check_term(Tied(fault))


class Joining(LossWeighting):
    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault

    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        values = list(losses.values())
        if self.fault == "all":
            return losses["oa"] + losses["kl"]
        if self.fault == "detached":
            return values[0].detach() + (0.0 if shared is None else 0 * shared.sum())
        if self.fault == "shared":
            return torch.stack(values).sum() + 0 * shared.sum()
        return torch.stack(values).prod()


@pytest.mark.parametrize(
    "weighting", [FixedWeights(), FixedWeights({"oa": 0.0, "kl": 2.0}), oh.UncertaintyWeights()]
)
def test_good_weightings(weighting: LossWeighting) -> None:
    check_weighting(weighting)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("all", "forward for the losses of oa raised KeyError"),
        ("detached", "no gradient reaches the loss of oa"),
        ("shared", "raised AttributeError"),
    ],
)
def test_broken_weightings(fault: str, message: str) -> None:
    check_weighting(Joining())
    with pytest.raises(ContractError, match=message):
        check_weighting(Joining(fault))
