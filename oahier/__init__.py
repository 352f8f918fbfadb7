"""Knee-osteoarthritis representations from 3D MRI under hierarchical, noisy labels.

Names are imported when they are first used, so that ``import oahier`` costs little more than
torch and Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from oahier.public import PUBLIC

__version__ = "0.1.0"

if TYPE_CHECKING:
    from oahier.callbacks import CartilageSaliency as CartilageSaliency
    from oahier.callbacks import LearningCurves as LearningCurves
    from oahier.callbacks import OrdinalMetrics as OrdinalMetrics
    from oahier.callbacks import PredictionWriter as PredictionWriter
    from oahier.callbacks import SeverityAxis as SeverityAxis
    from oahier.callbacks import StepRecorder as StepRecorder
    from oahier.callbacks import results as results
    from oahier.data import KneeMRIDataModule as KneeMRIDataModule
    from oahier.data import read_manifest as read_manifest
    from oahier.encoders import M3T as M3T
    from oahier.encoders import Encoder as Encoder
    from oahier.encoders import NnMamba as NnMamba
    from oahier.encoders import PlainEncoder as PlainEncoder
    from oahier.encoders import ResNet3D as ResNet3D
    from oahier.heads import BinaryHead as BinaryHead
    from oahier.heads import ConditionalHead as ConditionalHead
    from oahier.heads import ContinuationRatioHead as ContinuationRatioHead
    from oahier.heads import CoralHead as CoralHead
    from oahier.heads import CornHead as CornHead
    from oahier.heads import CumulativeHead as CumulativeHead
    from oahier.heads import Head as Head
    from oahier.heads import MarginalHead as MarginalHead
    from oahier.heads import RegressionHead as RegressionHead
    from oahier.heads import SoftmaxHead as SoftmaxHead
    from oahier.heads import UnimodalHead as UnimodalHead
    from oahier.hierarchy import Hierarchy as Hierarchy
    from oahier.losses import BetaLabels as BetaLabels
    from oahier.losses import BinaryCrossEntropy as BinaryCrossEntropy
    from oahier.losses import ClassDistanceCrossEntropy as ClassDistanceCrossEntropy
    from oahier.losses import Criterion as Criterion
    from oahier.losses import CrossEntropy as CrossEntropy
    from oahier.losses import CumulativeCrossEntropy as CumulativeCrossEntropy
    from oahier.losses import Focal as Focal
    from oahier.losses import GeneralisedCrossEntropy as GeneralisedCrossEntropy
    from oahier.losses import HierarchicalCrossEntropy as HierarchicalCrossEntropy
    from oahier.losses import LogitAdjusted as LogitAdjusted
    from oahier.losses import LossWeighting as LossWeighting
    from oahier.losses import OrdinalLogLoss as OrdinalLogLoss
    from oahier.losses import Sord as Sord
    from oahier.losses import SquaredEarthMover as SquaredEarthMover
    from oahier.losses import SymmetricCrossEntropy as SymmetricCrossEntropy
    from oahier.losses import Term as Term
    from oahier.losses import TriangularLabels as TriangularLabels
    from oahier.losses import UncertaintyWeights as UncertaintyWeights
    from oahier.model import CosineSchedule as CosineSchedule
    from oahier.model import HierarchicalClassifier as HierarchicalClassifier
    from oahier.model import Schedule as Schedule
    from oahier.phantom import make_phantoms as make_phantoms
    from oahier.specs import make as make

__all__ = [*sorted(PUBLIC), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        from oahier.specs.errors import nearest

        raise AttributeError(f"module 'oahier' has no attribute {name!r}.{nearest(name, PUBLIC)}")
    value = getattr(importlib.import_module(PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
