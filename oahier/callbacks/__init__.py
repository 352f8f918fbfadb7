"""Callbacks: what is measured, shown and written while a model is trained and tested.

Each works alone, reads the steps' outputs, and leaves weights and random states as they are.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_MODULES = {
    "BestCheckpoint": "best_checkpoint",
    "CartilageSaliency": "cartilage_saliency",
    "EmbeddingFigure": "embedding_figure",
    "LearningCurves": "learning_curves",
    "OrdinalMetrics": "ordinal_metrics",
    "PredictionWriter": "prediction_writer",
    "RunLog": "run_log",
    "SeverityAxis": "severity_axis",
    "StepRecorder": "step_recorder",
}

if TYPE_CHECKING:
    from oahier.callbacks.best_checkpoint import BestCheckpoint as BestCheckpoint
    from oahier.callbacks.cartilage_saliency import CartilageSaliency as CartilageSaliency
    from oahier.callbacks.embedding_figure import EmbeddingFigure as EmbeddingFigure
    from oahier.callbacks.learning_curves import LearningCurves as LearningCurves
    from oahier.callbacks.ordinal_metrics import OrdinalMetrics as OrdinalMetrics
    from oahier.callbacks.prediction_writer import PredictionWriter as PredictionWriter
    from oahier.callbacks.run_log import RunLog as RunLog
    from oahier.callbacks.severity_axis import SeverityAxis as SeverityAxis
    from oahier.callbacks.step_recorder import StepRecorder as StepRecorder

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'oahier.callbacks' has no attribute {name!r}; there are {__all__}")
    value = getattr(importlib.import_module(f"oahier.callbacks.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
