"""Data, seed, trainer and versions of a training, in words and numbers that name nobody."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from typing import Any

import lightning as L

from oahier.data import KneeMRIDataModule, PairedVisits
from oahier.data.summary import summary_of
from oahier.files import csv_text
from oahier.specs import SpecError, describe

_PACKAGES = ("oahier", "torch", "lightning", "torchio", "timm-3d", "monai", "numpy")
_TRAINER = (
    "max_epochs", "max_steps", "precision", "num_devices", "num_nodes", "world_size",
    "accumulate_grad_batches", "gradient_clip_val", "check_val_every_n_epoch",
)  # fmt: skip


def setting_of(trainer: L.Trainer) -> dict[str, Any]:
    """Data, seed, trainer, and versions, nested and plain, for the configuration of a logger."""
    data = getattr(trainer, "datamodule", None)
    scans = data.data if isinstance(data, PairedVisits) else data
    seed = os.environ.get("PL_GLOBAL_SEED")
    values = {name: getattr(trainer, name, None) for name in _TRAINER}
    return {
        "seed": None if seed is None else int(seed),
        "trainer": {
            **values,
            "accelerator": type(trainer.accelerator).__name__,
            "strategy": type(trainer.strategy).__name__,
        },
        "versions": {"python": platform.python_version(), **_versions()},
        **({"data": _data(scans)} if isinstance(scans, KneeMRIDataModule) else {}),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _data(data: KneeMRIDataModule) -> dict[str, Any]:
    try:
        augmentation = describe(data.augmentation)
    except SpecError:
        augmentation = type(data.augmentation).__name__
    return {
        "preprocessing": data.preprocessing.as_dict(),
        "targets": list(data.target_names),
        "batch_size": data.batch_size,
        "balanced": data.balanced,
        "augmentation": augmentation,
        "seed": data.seed,
        "manifest_sha256": _hash_of(data),
        **summary_of(data.manifest),
    }


def _hash_of(data: KneeMRIDataModule) -> str:
    """SHA-256 of the manifest's file as ``sha256sum`` prints it; of its table where it has none."""
    path = data.manifest.path
    if path is not None and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    table = data.manifest.table
    return hashlib.sha256(csv_text(list(table), table.values.tolist()).encode()).hexdigest()
