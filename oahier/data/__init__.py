"""Manifests, preprocessing, caching and batches of knee MRI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oahier.problems import ManifestError, Problem
from oahier.public import imported_when_asked

if TYPE_CHECKING:
    from oahier.data.augmentation import AugmentationRanges, BatchAugmentation, TorchIOAugmentation
    from oahier.data.cache.cache import CacheError, KneeCache
    from oahier.data.datamodule import KneeMRIDataModule
    from oahier.data.follow_up import with_follow_up
    from oahier.data.manifest.manifest import Manifest, read_manifest
    from oahier.data.preprocessing import Preprocessing
    from oahier.data.splitting.plans import Folds, SplitFractions, SplitPlan
    from oahier.data.visit_pairs import PairedVisits, VisitPairs
    from oahier.data.visit_pairs_module import VisitPairsDataModule

_MODULES = {
    "AugmentationRanges": "augmentation",
    "BatchAugmentation": "augmentation",
    "CacheError": "cache.cache",
    "Folds": "splitting.plans",
    "KneeCache": "cache.cache",
    "KneeMRIDataModule": "datamodule",
    "Manifest": "manifest.manifest",
    "PairedVisits": "visit_pairs",
    "Preprocessing": "preprocessing",
    "SplitFractions": "splitting.plans",
    "SplitPlan": "splitting.plans",
    "TorchIOAugmentation": "augmentation",
    "VisitPairs": "visit_pairs",
    "VisitPairsDataModule": "visit_pairs_module",
    "read_manifest": "manifest.manifest",
    "with_follow_up": "follow_up",
}

__all__ = [
    "AugmentationRanges", "BatchAugmentation", "CacheError", "Folds", "KneeCache", "KneeMRIDataModule",
    "Manifest", "ManifestError", "PairedVisits", "Preprocessing", "Problem", "SplitFractions", "SplitPlan",
    "TorchIOAugmentation", "VisitPairs", "VisitPairsDataModule", "read_manifest", "with_follow_up",
]  # fmt: skip

__getattr__ = imported_when_asked(__name__, _MODULES)
