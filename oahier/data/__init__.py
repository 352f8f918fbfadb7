"""Manifests, preprocessing, caching and batches of knee MRI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oahier.data.augmentation import AugmentationRanges, BatchAugmentation
from oahier.data.cache.cache import CacheError, KneeCache
from oahier.data.datamodule import KneeMRIDataModule
from oahier.data.follow_up import with_follow_up
from oahier.data.manifest.manifest import Manifest, read_manifest
from oahier.data.preprocessing import Preprocessing
from oahier.data.splitting.plans import Folds, SplitFractions, SplitPlan
from oahier.data.visit_pairs import PairedVisits, VisitPairs
from oahier.data.visit_pairs_module import VisitPairsDataModule
from oahier.problems import ManifestError, Problem

if TYPE_CHECKING:
    from oahier.data.augmentation import TorchIOAugmentation

__all__ = [
    "AugmentationRanges",
    "BatchAugmentation",
    "CacheError",
    "Folds",
    "KneeCache",
    "KneeMRIDataModule",
    "Manifest",
    "ManifestError",
    "PairedVisits",
    "Preprocessing",
    "Problem",
    "SplitFractions",
    "SplitPlan",
    "TorchIOAugmentation",
    "VisitPairs",
    "VisitPairsDataModule",
    "read_manifest",
    "with_follow_up",
]


def __getattr__(name: str) -> Any:
    """Import what is heavy or seldom used when it is first asked for."""
    if name == "TorchIOAugmentation":
        from oahier.data.augmentation import TorchIOAugmentation

        return TorchIOAugmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
