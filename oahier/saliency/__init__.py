"""Saliency maps and what they are compared with: class activation maps, gradients, overlap, controls."""

from oahier.saliency.cam import CAM_METHODS, CamMethod, class_activation_map, tail_gradients, tail_score
from oahier.saliency.controls import mass_in_other_masks, randomised_parameters
from oahier.saliency.gradients import smoothgrad_times_input
from oahier.saliency.interpolation import mask_footprint, resample
from oahier.saliency.overlap import dilate, iou_bound, region_overlap, saliency_overlap

__all__ = [
    "CAM_METHODS",
    "CamMethod",
    "class_activation_map",
    "dilate",
    "iou_bound",
    "mask_footprint",
    "mass_in_other_masks",
    "randomised_parameters",
    "region_overlap",
    "resample",
    "saliency_overlap",
    "smoothgrad_times_input",
    "tail_gradients",
    "tail_score",
]
