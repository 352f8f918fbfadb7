"""The data module: batches of knees from a manifest and a volume size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from typing_extensions import override

import oahier.data.arguments as checks
from oahier.data.augmentation import BatchAugmentation
from oahier.data.cache.cache import KneeCache
from oahier.data.dataset import KneeDataset, Loader, in_single_precision, knee_loader, sends_half
from oahier.data.manifest.manifest import Manifest, read_manifest
from oahier.data.manifest.targets import class_counts, is_known
from oahier.data.preprocessing import Preprocessing
from oahier.data.provenance import compare, record_of
from oahier.data.relabelling import Relabelling, relabelled
from oahier.data.sampling import balanced_weights
from oahier.data.split_loaders import SPLIT_OF_STAGE, SplitDataModule
from oahier.data.splitting.plans import SplitPlan
from oahier.problems import ManifestError, Problem
from oahier.types import Split


class KneeMRIDataModule(SplitDataModule):
    """Batches of preprocessed knees, cached on disk, split by subject.

    Volumes are reoriented to right-anterior-superior (RAS) axes, resampled to one spacing, cropped or padded
    about the centre and z-scored, once; the result is kept in the cache. Only training volumes are augmented.

    Args:
        manifest: path of a manifest (see :func:`~oahier.read_manifest`), or one in memory.
        shape: voxels along right, anterior, superior.
        spacing: millimetres per voxel along the same axes; when not given, those at which the median field
            of view of the training knees fills ``shape``.
        split: how to split where the manifest has no ``split`` column: fractions (70/15/15 by default) or
            one of several folds. A split column is respected (not by ``Folds(anew=True)``); if it has no
            validation knees, fractions take their ``val`` share from the training knees.
        relabel: changes of the training and validation labels by name, see :mod:`oahier.data.relabelling`.
        targets: columns to deliver; ``oa`` and ``kl`` may be empty, others must be in the manifest. Columns
            of whole numbers, and further readings such as ``kl_2``, are classes; columns of other numbers
            are measurements (float32, NaN where unknown).
        preprocessing: a deterministic TorchIO transform (``tio.HistogramStandardization``, a ``tio.Compose``)
            in place of z-scores. It runs once per knee, on a subject with ``mri`` (axes nearest to RAS) and
            ``cartilage``; its result is resampled to ``shape`` and ``spacing`` (if given).
        mirror_left: flip left knees, so that medial is on the same side in every volume.
        bias_correction: remove the bias field of every scan (N4), once.
        augmentation: change of training knees: a :class:`~oahier.data.BatchAugmentation` (``"mild"`` is its
            default), which works on the device after the transfer; a TorchIO transform, or anything else
            that maps a Subject to a Subject, in the loading processes; ``None`` is none.
        balanced: draw training knees such that all KL grades (OA where there is no KL) are equally frequent.
        batch_size: knees per batch of each process. A last training batch of one knee is left out.
        num_workers: processes that load and preprocess; 0 for the main one.
        cache: folder for preprocessed knees; by default OAHIER_CACHE, or ``.oahier-cache`` by the manifest.
        seed: seed of the split and, with the global seed, of order and augmentation.

    Raises:
        ValueError: an argument out of range, or a :class:`~oahier.data.ManifestError`.
    """

    def __init__(
        self,
        manifest: str | Path | Manifest,
        shape: tuple[int, int, int],
        *,
        spacing: tuple[float, float, float] | None = None,
        split: SplitPlan | None = None,
        relabel: Mapping[str, Relabelling] | None = None,
        targets: Sequence[str] = ("oa", "kl"),
        preprocessing: Callable[[Any], Any] | None = None,
        mirror_left: bool = False,
        bias_correction: bool = False,
        augmentation: Literal["mild"] | BatchAugmentation | Callable[[Any], Any] | None = "mild",
        balanced: bool = False,
        batch_size: int = 4,
        num_workers: int = 0,
        cache: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        checks.check_arguments(shape, spacing, targets, batch_size, num_workers)
        self.manifest = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
        self.batch_size, self.seed = batch_size, seed
        self._shape = tuple(int(count) for count in shape)
        self._spacing = None if spacing is None else tuple(float(length) for length in spacing)
        self._targets = tuple(targets)
        self.manifest, self._unsplit = checks.with_given_splits(self.manifest, split, seed)
        if relabel:
            self.manifest = relabelled(self.manifest, relabel, seed)
        self._labels = {name: self.manifest.labels(name) for name in self._targets}
        self._mirror_left, self._bias_correction = mirror_left, bias_correction
        self._transform = checks.recorded(preprocessing)
        if mirror_left:
            checks.require_sides(self.manifest)
        self.augmentation = BatchAugmentation() if augmentation == "mild" else augmentation
        self.balanced = balanced
        self._num_workers = num_workers
        self.knee_cache = KneeCache(checks.cache_folder(cache, self.manifest))
        self._entries: list[Path] | None = None
        self._predicting = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.manifest)} knees, {self._shape}, {self._targets})"

    @classmethod
    def from_subjects(
        cls,
        subjects: Any,
        *,
        columns: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
        **arguments: Any,
    ) -> KneeMRIDataModule:
        """A data module of the subjects of a ``tio.SubjectsDataset`` or of a list.

        Args:
            subjects: each with an image ``mri``, the id ``subject`` of a person, and perhaps a label map
                ``cartilage``, a name ``knee`` and labels (``kl``, ``oa``).
            columns: the subjects' own keys of these, such as ``{"mri": "t1", "kl": "grade"}``.
            folder: where images that are in memory only are written.
            arguments: of the class, ``shape`` at least.

        Raises:
            ValueError: subjects that lack something, or an argument out of range.
        """
        from oahier.data.subjects import manifest_of_subjects

        return cls(manifest_of_subjects(subjects, columns, folder), **arguments)

    @property
    def volume_shape(self) -> tuple[int, ...]:
        """Voxels ``(i, j, k)`` of every volume."""
        return self._shape

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel: as given, empty if a transform decides, else from the scans' headers."""
        if self._spacing is None and self._transform is not None:
            return ()
        if self._spacing is None:
            training = self.manifest.subset("train")
            self._spacing = self.knee_cache.common_spacing(
                training if len(training) else self.manifest, self._shape
            )
        return self._spacing

    @property
    def preprocessing(self) -> Preprocessing:
        """Everything that decides which voxels a knee becomes."""
        return Preprocessing(
            self._shape, self.spacing, self._mirror_left, self._bias_correction, self._transform
        )

    @property
    def target_names(self) -> tuple[str, ...]:
        """Targets that a head can learn from or be tested on; when predicting, labels are not needed."""
        if self._predicting:
            return self._targets
        return tuple(name for name, labels in self._labels.items() if is_known(labels).any())

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """Knees per class of each target that has classes, in the training split."""
        training = self.in_split("train")
        return class_counts({name: labels[training] for name, labels in self._labels.items()})

    @override
    def in_split(self, split: Split) -> np.ndarray:
        return (self.manifest.table["split"] == split).to_numpy()

    @override
    def prepare_data(self) -> None:
        """Preprocess what the cache does not hold yet.

        Raises:
            ManifestError: every knee whose files cannot be used.
            CacheError: the cache folder cannot be written.
        """
        self._entries = self.knee_cache.build(self.manifest, self.preprocessing, self._num_workers)

    @override
    def setup(self, stage: str) -> None:
        self._predicting = stage == "predict"
        split = SPLIT_OF_STAGE.get(stage)
        if split is not None and self._unsplit is not None:
            raise self._unsplit
        if split is not None and not self.in_split(split).any():
            message = f"no knee is in the split {split!r}, which `{stage}` needs"
            raise ManifestError(self.manifest.name, [Problem(message, column="split")])
        if self._entries is None:
            self.prepare_data()

    @override
    def train_dataloader(self) -> Loader:
        seed, augmentation = self._stream(), self.augmentation
        dataset = self.dataset("train", None if isinstance(augmentation, BatchAugmentation) else augmentation)
        weights = balanced_weights(checks.labels_to_balance(self.manifest)) if self.balanced else None
        share = self._share(len(dataset))
        drop_last = share > 1 and self.batch_size > 1 and share % self.batch_size == 1
        return self._training(dataset, seed, len(dataset), weights, drop_last=drop_last)

    @override
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make half-precision volumes float32 and augment a training batch, where it lies."""
        batch = in_single_precision(batch, self.trainer)
        augmentation = self.augmentation
        if not isinstance(augmentation, BatchAugmentation) or "seed" not in batch:
            return batch
        spacing = batch["affine"][:, :3, :3].double().norm(dim=1)
        mri, cartilage = augmentation(batch["mri"], batch.get("cartilage"), spacing, batch["seed"])
        return {**batch, "mri": mri, **({} if cartilage is None else {"cartilage": cartilage})}

    def evaluation_dataloader(self, split: Split) -> Loader:
        """Batches of any split in order and without augmentation; call :meth:`setup` before."""
        return self._loader(self.dataset(split), half=False)

    @override
    def dataset(self, split: Split | None, augmentation: Callable[[Any], Any] | None = None) -> KneeDataset:
        """The knees of a split, of the whole manifest for ``None``; call :meth:`setup` before."""
        entries = self._made()
        chosen = np.ones(len(self.manifest), dtype=bool)
        if split is not None:
            chosen = self.in_split(split)
        return KneeDataset(
            self.manifest if split is None else self.manifest.subset(split),
            [path for path, wanted in zip(entries, chosen, strict=True) if wanted],
            targets={name: labels[chosen] for name, labels in self._labels.items()},
            with_cartilage=self.manifest.has_cartilage,
            augmentation=augmentation,
        )

    def subject(self, knee: str) -> Any:
        """A preprocessed knee as a ``tio.Subject``; call :meth:`setup` before.

        It holds ``mri`` and, if the knee has one, ``cartilage``, which are read when they are first used;
        ``knee``, ``subject``, ``side``, ``visit`` and ``split``; and every target by its name.

        Raises:
            KeyError: no such knee in the manifest.
        """
        from oahier.data.subjects import knee_subject

        return knee_subject(self.manifest, knee, self._made(), self._labels)

    def subjects(self, split: Split | None = None) -> Any:
        """The knees of a split, or of the manifest, as a ``tio.SubjectsDataset`` without a transform."""
        import torchio

        table = self.manifest.table if split is None else self.manifest.subset(split).table
        return torchio.SubjectsDataset([self.subject(str(knee)) for knee in table["knee"]])

    def _made(self) -> list[Path]:
        if self._entries is None:
            raise RuntimeError("the data module has no data yet: call prepare_data() and setup(stage) before")
        return self._entries

    @override
    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint records: how volumes were preprocessed, who was in which split, and counts."""
        return record_of(self.manifest, self.preprocessing)

    @override
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Compare with the data that a checkpoint was trained on; refuses evaluations of other data."""
        doing = None if self.trainer is None else self.trainer.state.fn
        compare(state_dict, self.manifest, self.preprocessing, doing)

    def _share(self, knees: int) -> int:
        """Training knees of each process; Lightning repeats some until all have as many."""
        dealt = self.trainer.distributed_sampler_kwargs if self.trainer is not None else None
        return -(-knees // dealt["num_replicas"]) if dealt else knees

    def _stream(self) -> int:
        """Seed from the argument ``seed`` and the global seed."""
        return int(np.random.SeedSequence([self.seed, torch.initial_seed() % 2**63]).generate_state(1)[0])

    @override
    def _loader(self, dataset: torch.utils.data.Dataset[Any], **arguments: Any) -> Loader:
        rank = self.trainer.global_rank if self.trainer is not None else 0
        generator = torch.Generator().manual_seed(self.seed)
        own = {"generator": generator, "batch_size": self.batch_size, "half": sends_half(self.trainer)}
        return knee_loader(dataset, self._num_workers, rank, **{**own, **arguments})
