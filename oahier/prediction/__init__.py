"""From a scan to a graded report: scans in, table, overlays and pages out."""

from oahier.prediction.reference import compute_reference
from oahier.prediction.run import PredictionResult, predict_scans
from oahier.prediction.scans import LeftOut, Scan, find_scans
from oahier.prediction.trained import TrainedModel, load_trained

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
