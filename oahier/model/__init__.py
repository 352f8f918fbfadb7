"""The model: one encoder, heads at several levels, one objective, and its checkpoints."""

from oahier.model.checkpoints import CheckpointError
from oahier.model.classifier import HierarchicalClassifier

__all__ = ["CheckpointError", "HierarchicalClassifier"]
