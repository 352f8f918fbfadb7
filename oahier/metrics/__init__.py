"""Measures of ordinal and binary heads: functions on whole arrays, and torchmetrics classes.

Undefined values are NaN, never a made-up number. Nothing here imports Lightning.
"""

from oahier.metrics.classes import (
    Accuracy,
    AccuracyWithinOne,
    AveragePrecision,
    BinaryAUC,
    LinearWeightedKappa,
    MacroAUC,
    MacroF1,
    MacroMeanAbsoluteError,
    MeanAbsoluteError,
    QuadraticWeightedKappa,
    RankedProbabilityScore,
    Sensitivity,
    Specificity,
)
from oahier.metrics.confusion import (
    accuracy,
    accuracy_within,
    confusion_matrix,
    f1_per_class,
    macro_f1,
    macro_mean_absolute_error,
    mean_absolute_error,
    sensitivity,
    specificity,
    weighted_kappa,
)
from oahier.metrics.probability import (
    Reliability,
    brier_score,
    calibration_error,
    ranked_probability_score,
    reliability,
)
from oahier.metrics.ranking import average_precision, average_ranks, binary_auc, macro_auc, spearman
from oahier.metrics.summary import binary_metrics, hierarchy_metrics, ordinal_metrics

__all__ = [
    "Accuracy",
    "AccuracyWithinOne",
    "AveragePrecision",
    "BinaryAUC",
    "LinearWeightedKappa",
    "MacroAUC",
    "MacroF1",
    "MacroMeanAbsoluteError",
    "MeanAbsoluteError",
    "QuadraticWeightedKappa",
    "RankedProbabilityScore",
    "Reliability",
    "Sensitivity",
    "Specificity",
    "accuracy",
    "accuracy_within",
    "average_precision",
    "average_ranks",
    "binary_auc",
    "binary_metrics",
    "brier_score",
    "calibration_error",
    "confusion_matrix",
    "f1_per_class",
    "hierarchy_metrics",
    "macro_auc",
    "macro_f1",
    "macro_mean_absolute_error",
    "mean_absolute_error",
    "ordinal_metrics",
    "ranked_probability_score",
    "reliability",
    "sensitivity",
    "spearman",
    "specificity",
    "weighted_kappa",
]
