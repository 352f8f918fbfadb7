"""A training step with each head and criterion, over that with a softmax head and cross-entropy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import torch

import oahier as oh
from benchmarks.harness import Comparison, in_turn
from benchmarks.volumes import batches
from oahier.heads import Beta, ComplementaryLogLog, Head, Poisson, Probit
from oahier.types import Batch, TrainingFacts

HEADS: dict[str, Callable[[], Head]] = {
    "cumulative, logit": oh.CumulativeHead,
    "cumulative, probit": lambda: oh.CumulativeHead(link=Probit()),
    "cumulative, complementary log-log": lambda: oh.CumulativeHead(link=ComplementaryLogLog()),
    "CORAL": oh.CoralHead,
    "CORN": oh.CornHead,
    "continuation ratio": oh.ContinuationRatioHead,
    "binomial": oh.UnimodalHead,
    "Poisson": lambda: oh.UnimodalHead(distribution=Poisson()),
    "beta": lambda: oh.UnimodalHead(distribution=Beta()),
    "regression": oh.RegressionHead,
    "conditional": oh.ConditionalHead,
}
CRITERIA: tuple[type[oh.Criterion], ...] = (
    oh.Focal, oh.Sord, oh.TriangularLabels, oh.BetaLabels, oh.SquaredEarthMover, oh.CumulativeCrossEntropy,
    oh.ClassDistanceCrossEntropy, oh.OrdinalLogLoss, oh.GeneralisedCrossEntropy, oh.SymmetricCrossEntropy,
    oh.LogitAdjusted, oh.HierarchicalCrossEntropy,
)  # fmt: skip


def heads(quick: bool) -> list[Comparison]:
    """Goal: at most 3 % on top of the softmax head."""
    shape, steps, rounds = ((16, 16, 16), 1, 1) if quick else ((32, 48, 48), 4, 5)
    data = batches(2 * steps, shape, batch_size=2, prefix="train")
    makers = {f"step with the {name} head": make for name, make in HEADS.items()}
    for criterion in CRITERIA:
        made = partial(_softmax_with, criterion)
        makers[f"step with {criterion.__name__}"] = made
    note = f"{'x'.join(map(str, shape))}, batch 2, {steps} steps a round, ResNet3D-18 of width 16, AdamW"
    results = []
    softmax = _alone(oh.SoftmaxHead, 2 if quick else 60)
    for name, make in list(makers.items())[:: 6 if quick else 1]:
        extra = 1000 * (_alone(make, 2 if quick else 60) - softmax)
        sides = [partial(_steps, *_prepared(head), data) for head in (make(), oh.SoftmaxHead())]
        made = in_turn(sides[0], sides[1], rounds, warm_up=not quick)
        results.append(
            Comparison(name, "softmax head, cross-entropy", made, 1.03, note=f"{note}; alone {extra:+.2f} ms")
        )
    return results


def _softmax_with(criterion: type[oh.Criterion]) -> Head:
    return oh.SoftmaxHead(criterion=criterion())


def _alone(make: Callable[[], Head], rounds: int) -> float:
    """Fewest processor seconds of the head with its loss on two knees, forwards and backwards."""
    torch.manual_seed(0)
    head, best = make(), math.inf
    head.build(128)
    head.prepare(TrainingFacts({"kl": [5, 4, 3, 2, 1], "oa": [9, 6]}, targets=("kl",)))
    columns = head.target if isinstance(head.target, (list, tuple)) else ["kl"]
    readings = torch.tensor([[1, 0], [3, 1]])[:, : len(columns)]
    embedding = torch.randn(2, 128, requires_grad=True)
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(5):
            head.reading_losses(head(embedding), readings).mean().backward()
        best = min(best, (time.process_time() - started) / 5)
    return best


def _prepared(head: Head) -> tuple[oh.HierarchicalClassifier, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = oh.HierarchicalClassifier(oh.ResNet3D(depth=18, width=16), {"kl": head})
    head.prepare(TrainingFacts({"kl": [5, 4, 3, 2, 1]}, targets=("kl",)))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4)


def _steps(model: oh.HierarchicalClassifier, optimizer: torch.optim.Optimizer, data: list[Batch]) -> None:
    for batch in data:
        optimizer.zero_grad()
        model._step(batch, "val")["loss"].backward()
        optimizer.step()
