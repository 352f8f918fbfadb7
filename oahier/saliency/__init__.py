"""Saliency maps and what they are compared with: methods, overlap, faithfulness, stability, floors."""

from oahier.saliency.acquisition import (
    AcquisitionChange,
    CornerBlock,
    GainRamp,
    SmallerField,
    acquisition_changes,
    score_shifts,
)
from oahier.saliency.cam import CAM_METHODS, CamMethod, class_activation_map, tail_gradients, tail_score
from oahier.saliency.controls import InputItself, mass_in_other_masks, random_weights, randomised_parameters
from oahier.saliency.gradients import IntegratedGradients, SmoothGrad, smoothgrad_times_input
from oahier.saliency.interpolation import mask_footprint, resample
from oahier.saliency.method import ExplainedKnees, SaliencyMethod
from oahier.saliency.occlusion import Occlusion
from oahier.saliency.overlap import dilate, iou_bound, region_overlap, saliency_overlap
from oahier.saliency.perturbation import deletion_insertion
from oahier.saliency.ranking import peak_distance, region_areas
from oahier.saliency.registry import METHODS, TRUSTED, as_method, default_methods
from oahier.saliency.stability import cascading_randomisation, map_agreement, random_pairs, repeatability
from oahier.saliency.tail_methods import ActivationMap, AttentionRollout, FusedActivationMaps

__all__ = [
    "CAM_METHODS",
    "METHODS",
    "TRUSTED",
    "AcquisitionChange",
    "ActivationMap",
    "AttentionRollout",
    "CamMethod",
    "CornerBlock",
    "ExplainedKnees",
    "FusedActivationMaps",
    "GainRamp",
    "InputItself",
    "IntegratedGradients",
    "Occlusion",
    "SaliencyMethod",
    "SmallerField",
    "SmoothGrad",
    "acquisition_changes",
    "as_method",
    "cascading_randomisation",
    "class_activation_map",
    "default_methods",
    "deletion_insertion",
    "dilate",
    "iou_bound",
    "map_agreement",
    "mask_footprint",
    "mass_in_other_masks",
    "peak_distance",
    "random_pairs",
    "random_weights",
    "randomised_parameters",
    "region_areas",
    "region_overlap",
    "repeatability",
    "resample",
    "saliency_overlap",
    "score_shifts",
    "smoothgrad_times_input",
    "tail_gradients",
    "tail_score",
]
