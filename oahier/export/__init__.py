"""Trained models in the formats of other tools."""

from oahier.export.agreement import Agreement, ExportError
from oahier.export.exporting import FORMATS, Exported, Format, export_checkpoint
from oahier.export.hub import pull_from_hub, push_to_hub
from oahier.export.inference import Inference
from oahier.export.weights import load_weights

__all__ = [
    "FORMATS",
    "Agreement",
    "ExportError",
    "Exported",
    "Format",
    "Inference",
    "export_checkpoint",
    "load_weights",
    "pull_from_hub",
    "push_to_hub",
]
