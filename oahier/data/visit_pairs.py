"""Pairs of visits of one knee: a data set of both volumes, and a data module of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from typing_extensions import override

from oahier.data.augmentation import BatchAugmentation
from oahier.data.datamodule import KneeMRIDataModule
from oahier.data.dataset import KneeDataset, Loader, Sample
from oahier.data.follow_up import known_values, visits_of
from oahier.data.preprocessing import Preprocessing
from oahier.data.sampling import Draw
from oahier.data.split_loaders import SPLIT_OF_STAGE, SplitDataModule
from oahier.hierarchy import FINE
from oahier.problems import ManifestError, Problem
from oahier.types import MISSING, Split
from oahier.visits import Visits
from oahier.visits.courses import Indices


class VisitPairs(Dataset[Sample]):
    """Pairs of visits; a sample has two channels, the first visit and the second.

    An index gives a pair, earlier visit first. A draw (index of a *knee*, seed) gives a random pair of its
    visits in random order, both of which follow from the seed, as do the seeds of their augmentations.

    Args:
        knees: the scans.
        pairs: ``(pairs, 2)`` rows of the scans, earlier visit first.
        knee: ``(pairs,)`` number of the knee of each.
        change: ``(pairs,)`` class of the change, ``MISSING`` where unknown.
        classes: how many there are; the middle one is no change.
        target: name of the target.
    """

    def __init__(
        self, knees: KneeDataset, pairs: Indices, *, knee: Indices, change: Indices, classes: int, target: str
    ) -> None:
        self._knees, self._pairs, self._change = knees, pairs, change
        self._target, self._classes = target, classes
        self._of_knee = [np.flatnonzero(knee == number) for number in np.unique(knee)]

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def knees(self) -> int:
        """How many knees have a pair."""
        return len(self._of_knee)

    def __getitem__(self, draw: int | Draw) -> Sample:
        if not isinstance(draw, tuple):
            return self._sample(draw, swapped=False, seeds=None)
        number, seed = draw
        generator = np.random.default_rng(seed)
        index = int(generator.choice(self._of_knee[number]))
        seeds = generator.integers(2**62, size=2).tolist()
        return self._sample(index, swapped=bool(generator.integers(2)), seeds=seeds)

    def _sample(self, index: int, *, swapped: bool, seeds: list[int] | None) -> Sample:
        rows = self._pairs[index][::-1].tolist() if swapped else self._pairs[index].tolist()
        draws = rows if seeds is None else list(zip(rows, seeds, strict=True))
        first, second = (self._knees[draw] for draw in draws)
        change = int(self._change[index])
        if swapped and change != MISSING:
            change = self._classes - 1 - change
        sample = Sample(
            mri=torch.cat([first["mri"], second["mri"]]),
            targets={self._target: change},
            knee=f"{first['knee']}-to-{second['knee']}",
            subject=first["subject"],
            affine=first["affine"],
        )
        if seeds is not None:
            sample["seed"] = seeds  # type: ignore[typeddict-item]  # one for each visit
        return sample


class PairedVisits(SplitDataModule):
    """Batches of pairs of visits of one knee, for :class:`~oahier.model.ChangeModel`.

    Scans, splits, cache and augmentation are those of a data module. In an epoch of training every knee with
    two labelled visits comes once, with a random pair in random order that follows from seed and epoch;
    validation, test and prediction go through all pairs, the earlier visit first. A knee is one side of one
    subject, and a subject is in one split, so no pair straddles two.

    Args:
        data: of the scans.
        column: whose change is the label, larger for worse; a level or any other target column.
        steps: most steps of change: 1 for better, same, worse; 4 for differences of KL grades from -4 to 4.
        tolerance: a difference up to this is none.
        months: column of the months of each visit.
        target: name of the label, which the head has too.
        batch_size: pairs; half the scans of a batch of ``data`` when not given.

    Raises:
        ManifestError: no column of months, no knee with two visits, or an unknown column.
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        data: KneeMRIDataModule,
        *,
        column: str = FINE,
        steps: int = 1,
        tolerance: int | float = 0,
        months: str = "month",
        target: str = "change",
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if steps < 1 or tolerance < 0 or (batch_size is not None and batch_size < 1):
            raise ValueError(
                "PairedVisits: expected steps and batch_size of 1 or more and a tolerance of 0 or more, got "
                f"{steps}, {batch_size} and {tolerance}"
            )
        self.data, self.batch_size = data, batch_size or max(1, data.batch_size // 2)
        self._classes, self._tolerance, self._target = 2 * steps + 1, tolerance, target
        self._visits: Visits = visits_of(data.manifest, months)
        self._values = known_values(data.manifest, column)
        self._pairs = self._visits.pairs()
        self._change = self._classes_of_change()

    def _classes_of_change(self) -> Indices:
        difference = self._values[self._pairs[:, 1]] - self._values[self._pairs[:, 0]]
        steps = self._classes // 2
        moved = np.sign(difference) * np.ceil(np.abs(difference) - 1e-6).clip(1, steps)
        moved = np.where(np.abs(difference) <= self._tolerance + 1e-9, 0, moved)
        return np.where(np.isfinite(difference), moved + steps, MISSING).astype(np.int64)

    @property
    def manifest(self) -> Any:
        """The scans."""
        return self.data.manifest

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel of every volume."""
        return self.data.spacing

    @property
    def preprocessing(self) -> Preprocessing:
        """Everything that decides which voxels a visit becomes."""
        return self.data.preprocessing

    @property
    def volume_shape(self) -> tuple[int, ...]:
        """Voxels ``(i, j, k)`` of every volume."""
        return self.data.volume_shape

    @property
    def target_names(self) -> tuple[str, ...]:
        """The label of change."""
        return (self._target,)

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """Training pairs of each class of change, in either order."""
        change = self._change[self.in_split("train") & (self._change != MISSING)]
        counts = np.bincount(change, minlength=self._classes)
        return {self._target: (counts + counts[::-1]).tolist()}

    @override
    def prepare_data(self) -> None:
        self.data.prepare_data()

    @override
    def setup(self, stage: str) -> None:
        self.data.trainer = self.trainer
        self.data.setup(stage)
        split = SPLIT_OF_STAGE.get(stage)
        if split is not None and not (self.in_split(split) & (self._change != MISSING)).any():
            message = f"no knee of the split {split!r} has two labelled visits, which `{stage}` needs"
            raise ManifestError(self.data.manifest.name, [Problem(message)])

    @override
    def dataset(self, split: Split | None, *, training: bool = False) -> VisitPairs:
        """The pairs of a split, of the whole manifest for ``None``; of labelled visits only for training."""
        augmentation = self.data.augmentation
        if not training or isinstance(augmentation, BatchAugmentation):
            augmentation = None
        rows = np.arange(len(self.data.manifest))
        chosen = np.ones(len(self._pairs), dtype=bool)
        if split is not None:
            rows, chosen = np.flatnonzero(self.data.in_split(split)), self.in_split(split)
        if training:
            chosen &= self._change != MISSING
        pairs = self._pairs[chosen]
        return VisitPairs(
            self.data.dataset(split, augmentation),
            np.searchsorted(rows, pairs),
            knee=self._visits.knee[pairs[:, 0]],
            change=self._change[chosen],
            classes=self._classes,
            target=self._target,
        )

    @override
    def train_dataloader(self) -> Loader:
        dataset = self.dataset("train", training=True)
        return self._training(dataset, self.data._stream(), dataset.knees)

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Hand the visits one by one to the data of the scans, which converts and augments each."""
        visits = {
            "mri": batch["mri"].flatten(0, 1)[:, None],
            "affine": batch["affine"].repeat_interleave(2, dim=0),
        }
        if "seed" in batch:
            visits["seed"] = batch["seed"].flatten()
        mri = self.data.on_after_batch_transfer(visits, dataloader_idx)["mri"]
        return {**batch, "mri": mri[:, 0].unflatten(0, (-1, 2))}

    @override
    def state_dict(self) -> dict[str, Any]:
        return self.data.state_dict()

    @override
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.data.load_state_dict(state_dict)

    @override
    def in_split(self, split: Split) -> np.ndarray:
        return self.data.in_split(split)[self._pairs[:, 0]]

    @override
    def _loader(self, dataset: Dataset[Any], **arguments: Any) -> Loader:
        return self.data._loader(dataset, batch_size=self.batch_size, **arguments)
