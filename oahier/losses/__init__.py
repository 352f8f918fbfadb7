"""Criteria of heads, terms beside them, and weightings that join both; pure torch."""

from oahier.losses.axis_order import AxisOrder
from oahier.losses.class_distance import ClassDistanceCrossEntropy
from oahier.losses.criterion import Criterion
from oahier.losses.cross_entropy import BinaryCrossEntropy, CrossEntropy
from oahier.losses.cumulative_cross_entropy import CumulativeCrossEntropy
from oahier.losses.dynamic_average import DynamicWeightAverage
from oahier.losses.earth_mover import SquaredEarthMover
from oahier.losses.focal import Focal
from oahier.losses.generalised_cross_entropy import GeneralisedCrossEntropy
from oahier.losses.gradnorm import GradNorm
from oahier.losses.hierarchical_cross_entropy import HierarchicalCrossEntropy
from oahier.losses.hierarchy_consistency import HierarchyConsistency
from oahier.losses.logit_adjustment import LogitAdjusted
from oahier.losses.ordinal_contrast import OrdinalContrast
from oahier.losses.ordinal_log_loss import OrdinalLogLoss
from oahier.losses.pcgrad import PCGrad
from oahier.losses.rank_n_contrast import RankNContrast
from oahier.losses.reader_noise import ReaderNoise
from oahier.losses.readers import KnownReader, LearnedReader, Reader
from oahier.losses.soft_labels import BetaLabels, SoftLabels, Sord, TriangularLabels
from oahier.losses.symmetric_cross_entropy import SymmetricCrossEntropy
from oahier.losses.terms import Term
from oahier.losses.weighting import FixedWeights, LossWeighting, UncertaintyWeights

__all__ = [
    "AxisOrder",
    "BetaLabels",
    "BinaryCrossEntropy",
    "ClassDistanceCrossEntropy",
    "Criterion",
    "CrossEntropy",
    "CumulativeCrossEntropy",
    "DynamicWeightAverage",
    "FixedWeights",
    "Focal",
    "GeneralisedCrossEntropy",
    "GradNorm",
    "HierarchicalCrossEntropy",
    "HierarchyConsistency",
    "KnownReader",
    "LearnedReader",
    "LogitAdjusted",
    "LossWeighting",
    "OrdinalContrast",
    "OrdinalLogLoss",
    "PCGrad",
    "RankNContrast",
    "Reader",
    "ReaderNoise",
    "SoftLabels",
    "Sord",
    "SquaredEarthMover",
    "SymmetricCrossEntropy",
    "Term",
    "TriangularLabels",
    "UncertaintyWeights",
]
