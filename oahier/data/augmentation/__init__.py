"""Random changes of training volumes: drawn once, applied on the device or by TorchIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oahier.data.augmentation.batch import BatchAugmentation
from oahier.data.augmentation.draws import AugmentationDraw, AugmentationRanges

if TYPE_CHECKING:
    from oahier.data.augmentation.subject import TorchIOAugmentation

__all__ = ["AugmentationDraw", "AugmentationRanges", "BatchAugmentation", "TorchIOAugmentation"]


def __getattr__(name: str) -> Any:
    """TorchIO is imported when its augmentation is first asked for."""
    if name == "TorchIOAugmentation":
        from oahier.data.augmentation.subject import TorchIOAugmentation

        return TorchIOAugmentation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
