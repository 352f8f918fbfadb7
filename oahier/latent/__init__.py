"""Geometry of the latent space: the severity axis, its metrics, and distance to the training knees."""

from oahier.latent.axis import SeverityAxisFit, fit_severity_axis
from oahier.latent.axis_kinds import AXIS_KINDS, AxisDirection, axis_kind
from oahier.latent.axis_metrics import axis_measures, umap_embedding
from oahier.latent.novelty import MahalanobisDistance, conformal_p
from oahier.latent.training_knees import EmbeddingReference, Place

__all__ = [
    "AXIS_KINDS",
    "AxisDirection",
    "EmbeddingReference",
    "MahalanobisDistance",
    "Place",
    "SeverityAxisFit",
    "axis_kind",
    "axis_measures",
    "conformal_p",
    "fit_severity_axis",
    "umap_embedding",
]
