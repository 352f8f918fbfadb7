"""Criteria of heads, terms beside them, and weightings that join both; pure torch."""

from oahier.losses.criterion import Criterion
from oahier.losses.cross_entropy import BinaryCrossEntropy, CrossEntropy
from oahier.losses.focal import Focal
from oahier.losses.terms import Term
from oahier.losses.weighting import FixedWeights, LossWeighting, UncertaintyWeights

__all__ = [
    "BinaryCrossEntropy",
    "Criterion",
    "CrossEntropy",
    "FixedWeights",
    "Focal",
    "LossWeighting",
    "Term",
    "UncertaintyWeights",
]
