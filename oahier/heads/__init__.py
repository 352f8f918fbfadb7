"""Heads: each reads the embedding at one granularity of the hierarchy."""

from oahier.heads.base import Head
from oahier.heads.binary import BinaryHead
from oahier.heads.change import ChangeHead
from oahier.heads.conditional import ConditionalHead
from oahier.heads.continuation import ContinuationRatioHead
from oahier.heads.coral import CoralHead
from oahier.heads.corn import CornHead
from oahier.heads.cumulative import CumulativeHead
from oahier.heads.hazard import HazardHead
from oahier.heads.links import ComplementaryLogLog, Link, Logit, Probit
from oahier.heads.marginal import MarginalHead
from oahier.heads.regression import RegressionHead
from oahier.heads.softmax import SoftmaxHead
from oahier.heads.unimodal import UnimodalHead
from oahier.heads.unimodal_distributions import Beta, Binomial, Poisson, UnimodalDistribution

__all__ = [
    "Beta",
    "BinaryHead",
    "Binomial",
    "ChangeHead",
    "ComplementaryLogLog",
    "ConditionalHead",
    "ContinuationRatioHead",
    "CoralHead",
    "CornHead",
    "CumulativeHead",
    "HazardHead",
    "Head",
    "Link",
    "Logit",
    "MarginalHead",
    "Poisson",
    "Probit",
    "RegressionHead",
    "SoftmaxHead",
    "UnimodalDistribution",
    "UnimodalHead",
]
