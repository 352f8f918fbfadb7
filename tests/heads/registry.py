"""Every head and every criterion of the library, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable

import oahier as oh
from oahier.heads import Beta, ComplementaryLogLog, Head, Poisson, Probit

STAGES = oh.Hierarchy("kl", {"stage": (0, 1, 2, 2, 2)})
THREE = oh.Hierarchy("kl", {"stage": (0, 1, 2, 2, 2), "oa": (0, 0, 1, 1, 1)})

GRADED: dict[str, Callable[..., Head]] = {
    "softmax": oh.SoftmaxHead,
    "cumulative-logit": oh.CumulativeHead,
    "cumulative-probit": lambda **options: oh.CumulativeHead(link=Probit(), **options),
    "cumulative-cloglog": lambda **options: oh.CumulativeHead(link=ComplementaryLogLog(), **options),
    "coral": oh.CoralHead,
    "corn": oh.CornHead,
    "continuation-logit": oh.ContinuationRatioHead,
    "continuation-probit": lambda **options: oh.ContinuationRatioHead(link=Probit(), **options),
    "continuation-cloglog": lambda **options: oh.ContinuationRatioHead(link=ComplementaryLogLog(), **options),
    "binomial": oh.UnimodalHead,
    "poisson": lambda **options: oh.UnimodalHead(distribution=Poisson(), **options),
    "beta": lambda **options: oh.UnimodalHead(distribution=Beta(), **options),
    "conditional": oh.ConditionalHead,
    "conditional-three": lambda **options: oh.ConditionalHead(
        hierarchy=THREE, target=("kl", "stage", "oa"), **options
    ),
}
"""Heads of five grades that take a criterion."""
OTHERS: dict[str, Callable[[], Head]] = {
    "regression": oh.RegressionHead,
    "marginal": lambda: oh.MarginalHead(target="oa"),
    "binary": lambda: oh.BinaryHead(target="oa"),
}
HEADS: dict[str, Callable[..., Head]] = {**GRADED, **OTHERS}

CRITERIA: dict[str, Callable[[], oh.Criterion]] = {
    "cross-entropy": oh.CrossEntropy,
    "focal": oh.Focal,
    "sord": oh.Sord,
    "triangular": oh.TriangularLabels,
    "beta-labels": oh.BetaLabels,
    "earth-mover": oh.SquaredEarthMover,
    "class-distance": oh.ClassDistanceCrossEntropy,
    "class-distance-margin": lambda: oh.ClassDistanceCrossEntropy(2.0, margin=0.05),
    "ordinal-log": oh.OrdinalLogLoss,
    "generalised": oh.GeneralisedCrossEntropy,
    "symmetric": oh.SymmetricCrossEntropy,
    "logit-adjusted": oh.LogitAdjusted,
    "hierarchical": oh.HierarchicalCrossEntropy,
    "hierarchical-three": lambda: oh.HierarchicalCrossEntropy(0.6, 0.1, hierarchy=THREE),
    "cumulative": oh.CumulativeCrossEntropy,
}
