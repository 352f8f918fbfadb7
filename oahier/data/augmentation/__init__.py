"""Random changes of training volumes: drawn once, applied on the device or by TorchIO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oahier.data.augmentation.batch import BatchAugmentation
from oahier.data.augmentation.draws import AugmentationDraw, AugmentationRanges
from oahier.public import imported_when_asked

if TYPE_CHECKING:
    from oahier.data.augmentation.subject import TorchIOAugmentation

__all__ = ["AugmentationDraw", "AugmentationRanges", "BatchAugmentation", "TorchIOAugmentation"]

__getattr__ = imported_when_asked(__name__, {"TorchIOAugmentation": "subject"})
