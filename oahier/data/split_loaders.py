"""Loaders of the splits of a data module, the same for single knees and for pairs of visits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Bool
from torch.utils.data import Dataset
from typing_extensions import override

from oahier.data.dataset import Loader
from oahier.data.sampling import TrainingSampler
from oahier.types import Split

SPLIT_OF_STAGE: dict[str, Split] = {"fit": "train", "validate": "val", "test": "test"}
"""The split without which a stage has nothing to do."""


class SplitDataModule(L.LightningDataModule, ABC):
    """A data module that evaluates each split in order and predicts for the whole manifest.

    A subclass says which of its items are in a split, what their data set is and how a loader is made.
    """

    @abstractmethod
    def dataset(self, split: Split | None) -> Dataset[Any]:
        """The items of a split, of the whole manifest for ``None``."""

    @abstractmethod
    def in_split(self, split: Split) -> Bool[np.ndarray, " items"]:
        """Which items are in a split."""

    @abstractmethod
    def _loader(self, dataset: Dataset[Any], **arguments: Any) -> Loader:
        """Batches of a data set."""

    @override
    def val_dataloader(self) -> Loader | list[Loader]:
        return self._evaluation("val")

    @override
    def test_dataloader(self) -> Loader | list[Loader]:
        return self._evaluation("test")

    @override
    def predict_dataloader(self) -> Loader:
        return self._loader(self.dataset(None))

    def _evaluation(self, split: Split) -> Loader | list[Loader]:
        return self._loader(self.dataset(split)) if self.in_split(split).any() else []

    def _training(
        self, dataset: Dataset[Any], seed: int, count: int, weights: Any = None, **arguments: Any
    ) -> Loader:
        """Batches of ``count`` draws an epoch, whose order follows from seed and epoch."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        sampler = TrainingSampler(count, seed, weights=weights, epoch=epoch)
        return self._loader(
            dataset, sampler=sampler, generator=torch.Generator().manual_seed(seed), **arguments
        )
