"""Class paths that checkpoints and configurations of earlier versions hold, and what they are called now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OLD_PATHS = {
    "oahier.callbacks.best_checkpoint.BestCheckpoint": "oahier.callbacks.BestCheckpoint",
    "oahier.callbacks.cartilage_saliency.CartilageSaliency": "oahier.CartilageSaliency",
    "oahier.callbacks.learning_curves.LearningCurves": "oahier.LearningCurves",
    "oahier.callbacks.ordinal_metrics.OrdinalMetrics": "oahier.OrdinalMetrics",
    "oahier.callbacks.prediction_writer.PredictionWriter": "oahier.PredictionWriter",
    "oahier.callbacks.run_log.RunLog": "oahier.callbacks.RunLog",
    "oahier.callbacks.severity_axis.SeverityAxis": "oahier.SeverityAxis",
    "oahier.data.augmentation.batch.BatchAugmentation": "oahier.data.BatchAugmentation",
    "oahier.data.augmentation.draws.AugmentationRanges": "oahier.data.AugmentationRanges",
    "oahier.data.augmentation.subject.TorchIOAugmentation": "oahier.data.TorchIOAugmentation",
    "oahier.data.datamodule.KneeMRIDataModule": "oahier.KneeMRIDataModule",
    "oahier.data.manifest.Manifest": "oahier.data.Manifest",
    "oahier.data.splits.Folds": "oahier.data.Folds",
    "oahier.data.splits.SplitFractions": "oahier.data.SplitFractions",
    "oahier.encoders.m3t.M3T": "oahier.M3T",
    "oahier.encoders.monai.MonaiEncoder": "oahier.encoders.MonaiEncoder",
    "oahier.encoders.nnmamba.NnMamba": "oahier.NnMamba",
    "oahier.encoders.plain.PlainEncoder": "oahier.PlainEncoder",
    "oahier.encoders.resnet3d.ResNet3D": "oahier.ResNet3D",
    "oahier.encoders.timm3d.Timm3dEncoder": "oahier.encoders.Timm3dEncoder",
    "oahier.heads.binary.BinaryHead": "oahier.BinaryHead",
    "oahier.heads.softmax.SoftmaxHead": "oahier.SoftmaxHead",
    "oahier.losses.weighting.FixedWeights": "oahier.losses.FixedWeights",
    "oahier.losses.weighting.UncertaintyWeights": "oahier.UncertaintyWeights",
    "oahier.testing.model.TinyEncoder": "oahier.testing.TinyEncoder",
}
"""The first version wrote the file of each class; files may move, so public paths are written since."""


OLD_ARGUMENTS = {
    "picture_every_n_epochs": "figure_every_n_epochs",
    "pictures": "figures",
}
"""Arguments of callbacks that have another name since."""


def current_paths(value: Any) -> Any:
    """A configuration with the old class paths and arguments in it replaced, wherever they stand.

    >>> current_paths({"kl": {"class_path": "oahier.heads.softmax.SoftmaxHead"}})
    {'kl': {'class_path': 'oahier.SoftmaxHead'}}
    >>> current_paths({"class_path": "oahier.CartilageSaliency", "init_args": {"pictures": 2}})
    {'class_path': 'oahier.CartilageSaliency', 'init_args': {'figures': 2}}
    """
    if isinstance(value, str):
        return OLD_PATHS.get(value, value)
    if isinstance(value, Mapping):
        current = {name: current_paths(item) for name, item in value.items()}
        arguments = current.get("init_args")
        if str(current.get("class_path", "")).startswith("oahier.") and isinstance(arguments, dict):
            current["init_args"] = {OLD_ARGUMENTS.get(name, name): item for name, item in arguments.items()}
        return current
    if isinstance(value, list):
        return [current_paths(item) for item in value]
    return value
