"""A training step with a term, a weighting or reader noise, over the same step without."""

from __future__ import annotations

from collections.abc import Callable

import torch

import oahier as oh
from benchmarks.harness import Comparison, in_turn
from benchmarks.volumes import batches
from oahier.losses import (
    AxisOrder,
    DynamicWeightAverage,
    GradNorm,
    HierarchyConsistency,
    LearnedReader,
    OrdinalContrast,
    PCGrad,
    RankNContrast,
    ReaderNoise,
)

Step = Callable[[], object]


def methods(quick: bool) -> list[Comparison]:
    """What each method costs; no goal but that of criteria, 3 %."""
    shape, size, rounds = ((32, 48, 48), 8, 2 if quick else 31)
    (batch,) = batches(1, shape, batch_size=size, prefix="train")
    terms = {
        "hierarchy consistency": HierarchyConsistency(), "Rank-N-Contrast": RankNContrast(),
        "ordinal contrast": OrdinalContrast(), "axis order": AxisOrder(),
    }  # fmt: skip
    made: dict[str, dict[str, object]] = {
        f"term: {name}": {"terms": {"term": term}} for name, term in terms.items()
    }
    for weighting in (GradNorm(), PCGrad(), DynamicWeightAverage()):
        made[f"weighting: {type(weighting).__name__}"] = {"loss_weights": weighting}
    made["reader noise, learned"] = {"criterion": ReaderNoise(LearnedReader())}
    note = f"{'x'.join(map(str, shape))}, batch {size}, ResNet3D-10 of width 16, two heads, AdamW"
    compared = []
    for name, options in made.items():
        taken = in_turn(_step(batch, options), _step(batch, {}), rounds)
        goal = 1.03 if "criterion" in options else None
        compared.append(Comparison(name, "softmax step", taken, goal, note=note))
    return compared


def _step(batch: dict, options: dict) -> Step:
    torch.manual_seed(0)
    options = dict(options)
    heads = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(criterion=options.pop("criterion", None))}
    model = oh.HierarchicalClassifier(oh.ResNet3D(depth=10, width=16), heads, **options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        model._step(batch, "val")["loss"].backward()
        optimizer.step()

    return step
