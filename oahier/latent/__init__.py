"""Geometry of the latent space: the severity axis, its metrics, and distance to the training knees."""

from oahier.latent.axis import SeverityAxisFit, fit_severity_axis
from oahier.latent.axis_chance import WITH_CHANCE, axis_chance, split_half_reliability
from oahier.latent.axis_kinds import AXIS_KINDS, AxisDirection, axis_kind
from oahier.latent.axis_metrics import axis_measures, umap_embedding
from oahier.latent.discernible import Discernible, discernible_grades
from oahier.latent.novelty import MahalanobisDistance, conformal_p
from oahier.latent.training_knees import EmbeddingReference, Place
from oahier.latent.within_grade import WithinGrade, order_within_grades

__all__ = [
    "AXIS_KINDS",
    "WITH_CHANCE",
    "AxisDirection",
    "Discernible",
    "EmbeddingReference",
    "MahalanobisDistance",
    "Place",
    "SeverityAxisFit",
    "WithinGrade",
    "axis_chance",
    "axis_kind",
    "axis_measures",
    "conformal_p",
    "discernible_grades",
    "fit_severity_axis",
    "order_within_grades",
    "split_half_reliability",
    "umap_embedding",
]
