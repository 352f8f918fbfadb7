"""Names that stand at the top of the library, by the room that they are imported from."""

from __future__ import annotations

PUBLIC = {
    "BinaryHead": "oahier.heads",
    "CartilageSaliency": "oahier.callbacks",
    "Criterion": "oahier.losses",
    "Encoder": "oahier.encoders",
    "Head": "oahier.heads",
    "HierarchicalClassifier": "oahier.model",
    "KneeMRIDataModule": "oahier.data",
    "LearningCurves": "oahier.callbacks",
    "LossWeighting": "oahier.losses",
    "M3T": "oahier.encoders",
    "NnMamba": "oahier.encoders",
    "OrdinalMetrics": "oahier.callbacks",
    "PlainEncoder": "oahier.encoders",
    "PredictionWriter": "oahier.callbacks",
    "ResNet3D": "oahier.encoders",
    "SeverityAxis": "oahier.callbacks",
    "SoftmaxHead": "oahier.heads",
    "StepRecorder": "oahier.callbacks",
    "Term": "oahier.losses",
    "UncertaintyWeights": "oahier.losses",
    "make": "oahier.specs",
    "make_phantoms": "oahier.phantom",
    "read_manifest": "oahier.data",
}
