"""Losses that join or extend those of the heads; pure torch."""

from oahier.losses.terms import Term
from oahier.losses.weighting import FixedWeights, LossWeighting, UncertaintyWeights

__all__ = ["FixedWeights", "LossWeighting", "Term", "UncertaintyWeights"]
