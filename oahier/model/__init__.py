"""The model: one encoder, heads at several levels, one objective, and its checkpoints."""

from oahier.model.change import ChangeModel
from oahier.model.checkpoints import CheckpointError
from oahier.model.classifier import HierarchicalClassifier
from oahier.model.schedules import CosineSchedule, Schedule

__all__ = ["ChangeModel", "CheckpointError", "CosineSchedule", "HierarchicalClassifier", "Schedule"]
