"""From a scan to a graded report: scans in, table, overlays and pages out."""

from oahier.prediction.inputs import LeftOut, Scan, find_scans
from oahier.prediction.run import PredictionResult, predict_scans
from oahier.prediction.trained import TrainedModel, load_trained
from oahier.prediction.training_embeddings import compute_reference

__all__ = [
    "LeftOut",
    "PredictionResult",
    "Scan",
    "TrainedModel",
    "compute_reference",
    "find_scans",
    "load_trained",
    "predict_scans",
]
