"""What representations and saliency show: arrays in, numbers out, usable on anyone's predictions."""

from oahier.analysis.axis import AXIS_KINDS, AxisKind, SeverityAxisFit, fit_severity_axis
from oahier.analysis.axis_measures import axis_measures, umap_embedding
from oahier.analysis.cam import (
    CAM_METHODS,
    CamMethod,
    class_activation_map,
    tail_gradients,
    tail_score,
)
from oahier.analysis.controls import mass_in_other_masks, randomised_parameters
from oahier.analysis.gradients import smoothgrad_times_input
from oahier.analysis.overlap import dilate, iou_bound, saliency_overlap
from oahier.analysis.resampling import mask_footprint, resample

__all__ = [
    "AXIS_KINDS",
    "CAM_METHODS",
    "AxisKind",
    "CamMethod",
    "SeverityAxisFit",
    "axis_measures",
    "class_activation_map",
    "dilate",
    "fit_severity_axis",
    "iou_bound",
    "mask_footprint",
    "mass_in_other_masks",
    "randomised_parameters",
    "resample",
    "saliency_overlap",
    "smoothgrad_times_input",
    "tail_gradients",
    "tail_score",
    "umap_embedding",
]
