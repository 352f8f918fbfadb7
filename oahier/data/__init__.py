"""Manifests, preprocessing, caching and batches of knee MRI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oahier.data.audit import Audit, audit_manifest
from oahier.data.augmentation import AugmentationRanges, BatchAugmentation
from oahier.data.cache import CacheError, KneeCache
from oahier.data.check import check_manifest
from oahier.data.datamodule import KneeMRIDataModule
from oahier.data.manifest import Manifest, read_manifest
from oahier.data.preprocessing import Preprocessing
from oahier.data.problems import ManifestError, Problem
from oahier.data.splits import Folds, SplitFractions, SplitPlan

if TYPE_CHECKING:
    from oahier.data.augmentation import TorchIOAugmentation
    from oahier.data.phantom import make_phantoms

__all__ = [
    "Audit",
    "AugmentationRanges",
    "BatchAugmentation",
    "CacheError",
    "Folds",
    "KneeCache",
    "KneeMRIDataModule",
    "Manifest",
    "ManifestError",
    "Preprocessing",
    "Problem",
    "SplitFractions",
    "SplitPlan",
    "TorchIOAugmentation",
    "audit_manifest",
    "check_manifest",
    "make_phantoms",
    "read_manifest",
]


def __getattr__(name: str) -> Any:
    """Import what is heavy or seldom used when it is first asked for."""
    if name == "make_phantoms":
        from oahier.data.phantom import make_phantoms

        return make_phantoms
    if name == "TorchIOAugmentation":
        from oahier.data.augmentation import TorchIOAugmentation

        return TorchIOAugmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
