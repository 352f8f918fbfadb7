"""Names that stand at the top of the library, and names of rooms that are imported when first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

PUBLIC = {
    "BetaLabels": "oahier.losses",
    "BinaryCrossEntropy": "oahier.losses",
    "BinaryHead": "oahier.heads",
    "CartilageSaliency": "oahier.callbacks",
    "ClassDistanceCrossEntropy": "oahier.losses",
    "ConditionalHead": "oahier.heads",
    "ContinuationRatioHead": "oahier.heads",
    "CoralHead": "oahier.heads",
    "CornHead": "oahier.heads",
    "Criterion": "oahier.losses",
    "CosineSchedule": "oahier.model",
    "CrossEntropy": "oahier.losses",
    "CumulativeCrossEntropy": "oahier.losses",
    "CumulativeHead": "oahier.heads",
    "Encoder": "oahier.encoders",
    "Focal": "oahier.losses",
    "GeneralisedCrossEntropy": "oahier.losses",
    "Head": "oahier.heads",
    "HierarchicalClassifier": "oahier.model",
    "HierarchicalCrossEntropy": "oahier.losses",
    "Hierarchy": "oahier.hierarchy",
    "KneeMRIDataModule": "oahier.data",
    "LearningCurves": "oahier.callbacks",
    "LogitAdjusted": "oahier.losses",
    "LossWeighting": "oahier.losses",
    "M3T": "oahier.encoders",
    "MarginalHead": "oahier.heads",
    "NnMamba": "oahier.encoders",
    "OrdinalLogLoss": "oahier.losses",
    "OrdinalMetrics": "oahier.callbacks",
    "PlainEncoder": "oahier.encoders",
    "PredictionWriter": "oahier.callbacks",
    "RegressionHead": "oahier.heads",
    "ResNet3D": "oahier.encoders",
    "SeverityAxis": "oahier.callbacks",
    "Schedule": "oahier.model",
    "SoftmaxHead": "oahier.heads",
    "Sord": "oahier.losses",
    "SquaredEarthMover": "oahier.losses",
    "StepRecorder": "oahier.callbacks",
    "SymmetricCrossEntropy": "oahier.losses",
    "Term": "oahier.losses",
    "TriangularLabels": "oahier.losses",
    "UncertaintyWeights": "oahier.losses",
    "UnimodalHead": "oahier.heads",
    "make": "oahier.specs",
    "make_phantoms": "oahier.phantom",
    "read_manifest": "oahier.data",
    "results": "oahier.callbacks",
}


def imported_when_asked(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package that imports names from its modules when they are first asked for.

    Args:
        package: its name.
        modules: of the package, by the names that they define.
    """

    def imported(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return imported
