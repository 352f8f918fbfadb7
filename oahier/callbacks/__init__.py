"""Callbacks: what is measured, shown and written while a model is trained and tested.

Each works alone, reads the steps' outputs, and leaves weights and random states as they are, but the two that
say what the encoder starts with and when it learns: PretrainedWeights and FrozenEncoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oahier.public import imported_when_asked

_MODULES = {
    "AcquisitionProbe": "acquisition_probe",
    "BestCheckpoint": "best_checkpoint",
    "CartilageSaliency": "cartilage_saliency",
    "DecisionCalibration": "decision_calibration",
    "EmbeddingFigure": "embedding_figure",
    "FrozenEncoder": "frozen_encoder",
    "LastCheckpoint": "epoch_checkpoint",
    "GradeDecoding": "grade_decoding",
    "LearningCurves": "learning_curves",
    "OrdinalMetrics": "ordinal_metrics",
    "PredictionWriter": "prediction_writer",
    "PretrainedWeights": "pretrained_weights",
    "Results": "run_results",
    "RunLog": "run_log",
    "SeverityAxis": "severity_axis",
    "StepRecorder": "step_recorder",
    "WandbRun": "wandb_run",
    "last_checkpoint": "run_folder",
    "private_settings": "wandb_run",
    "results": "run_results",
}

if TYPE_CHECKING:
    from oahier.callbacks.acquisition_probe import AcquisitionProbe as AcquisitionProbe
    from oahier.callbacks.best_checkpoint import BestCheckpoint as BestCheckpoint
    from oahier.callbacks.cartilage_saliency import CartilageSaliency as CartilageSaliency
    from oahier.callbacks.decision_calibration import DecisionCalibration as DecisionCalibration
    from oahier.callbacks.embedding_figure import EmbeddingFigure as EmbeddingFigure
    from oahier.callbacks.epoch_checkpoint import LastCheckpoint as LastCheckpoint
    from oahier.callbacks.frozen_encoder import FrozenEncoder as FrozenEncoder
    from oahier.callbacks.grade_decoding import GradeDecoding as GradeDecoding
    from oahier.callbacks.learning_curves import LearningCurves as LearningCurves
    from oahier.callbacks.ordinal_metrics import OrdinalMetrics as OrdinalMetrics
    from oahier.callbacks.prediction_writer import PredictionWriter as PredictionWriter
    from oahier.callbacks.pretrained_weights import PretrainedWeights as PretrainedWeights
    from oahier.callbacks.run_folder import last_checkpoint as last_checkpoint
    from oahier.callbacks.run_log import RunLog as RunLog
    from oahier.callbacks.run_results import Results as Results
    from oahier.callbacks.run_results import results as results
    from oahier.callbacks.severity_axis import SeverityAxis as SeverityAxis
    from oahier.callbacks.step_recorder import StepRecorder as StepRecorder
    from oahier.callbacks.wandb_run import WandbRun as WandbRun
    from oahier.callbacks.wandb_run import private_settings as private_settings

__all__ = sorted(_MODULES)

__getattr__ = imported_when_asked(__name__, _MODULES)
