"""Metrics of ordinal and binary heads: one implementation of each, for samples and for bootstrap resamples.

Undefined values are NaN, never a made-up number. Nothing here imports Lightning.
"""

from oahier.metrics.coherence import LevelRows
from oahier.metrics.decoding import Decoding, MostProbable, QuadraticCost, WeightedMedian
from oahier.metrics.evaluation import binary_metrics, evaluate, hierarchy_metrics, ordinal_metrics
from oahier.metrics.modules import TorchMetric
from oahier.metrics.probability import Reliability, reliability
from oahier.metrics.registry import Metric, find_metrics, register, registered
from oahier.metrics.rows import Rows, decisions
from oahier.metrics.weighted import (
    weighted_auc,
    weighted_average_precision,
    weighted_mean,
    weighted_qwk,
    weighted_spearman,
)

__all__ = [
    "Decoding",
    "LevelRows",
    "Metric",
    "MostProbable",
    "QuadraticCost",
    "Reliability",
    "Rows",
    "TorchMetric",
    "WeightedMedian",
    "binary_metrics",
    "decisions",
    "evaluate",
    "find_metrics",
    "hierarchy_metrics",
    "ordinal_metrics",
    "register",
    "registered",
    "reliability",
    "weighted_auc",
    "weighted_average_precision",
    "weighted_mean",
    "weighted_qwk",
    "weighted_spearman",
]
