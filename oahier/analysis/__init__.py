"""What representations and saliency show: arrays in, numbers out, usable on anyone's predictions."""

from oahier.analysis.axis import AXIS_KINDS, AxisKind, SeverityAxisFit, fit_severity_axis
from oahier.analysis.axis_measures import axis_measures, umap_embedding
from oahier.analysis.bootstrap import Comparison, Summary
from oahier.analysis.cam import (
    CAM_METHODS,
    CamMethod,
    class_activation_map,
    tail_gradients,
    tail_score,
)
from oahier.analysis.comparison import compare_predictions, summarise_predictions
from oahier.analysis.controls import mass_in_other_masks, randomised_parameters
from oahier.analysis.correction import adjust_comparisons, adjust_p_values
from oahier.analysis.discordance import mcnemar
from oahier.analysis.gradients import smoothgrad_times_input
from oahier.analysis.marginal import marginal_homogeneity
from oahier.analysis.novelty import MahalanobisDistance, conformal_p
from oahier.analysis.overlap import dilate, iou_bound, saliency_overlap
from oahier.analysis.paired import paired_difference, paired_statistic, summarise_values
from oahier.analysis.predictions import Predictions, parse_predictions, read_predictions
from oahier.analysis.reference import EmbeddingReference, Place
from oahier.analysis.resampling import mask_footprint, resample
from oahier.analysis.roc_covariance import delong
from oahier.analysis.tables import write_table

__all__ = [
    "AXIS_KINDS",
    "CAM_METHODS",
    "AxisKind",
    "CamMethod",
    "Comparison",
    "EmbeddingReference",
    "MahalanobisDistance",
    "Place",
    "Predictions",
    "SeverityAxisFit",
    "Summary",
    "adjust_comparisons",
    "adjust_p_values",
    "axis_measures",
    "class_activation_map",
    "compare_predictions",
    "conformal_p",
    "delong",
    "dilate",
    "fit_severity_axis",
    "iou_bound",
    "marginal_homogeneity",
    "mask_footprint",
    "mass_in_other_masks",
    "mcnemar",
    "paired_difference",
    "paired_statistic",
    "parse_predictions",
    "randomised_parameters",
    "read_predictions",
    "resample",
    "saliency_overlap",
    "smoothgrad_times_input",
    "summarise_predictions",
    "summarise_values",
    "tail_gradients",
    "tail_score",
    "umap_embedding",
    "write_table",
]
