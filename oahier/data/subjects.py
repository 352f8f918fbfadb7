"""Knees as subjects of TorchIO: those of a data module handed out, those of a user's taken in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchio as tio
from torch import Tensor

from oahier.data.cache.entry import read_entry
from oahier.data.manifest.columns import COLUMNS, REQUIRED
from oahier.data.manifest.manifest import Manifest
from oahier.images import write_image

_IMAGES = ("mri", "cartilage")
_TEXTS = ("knee", "subject", "side", "visit", "split")


def knee_subject(
    manifest: Manifest, knee: str, entries: Sequence[Path], labels: Mapping[str, np.ndarray]
) -> tio.Subject:
    """A preprocessed knee whose images are read from the cache when they are first used.

    Args:
        manifest: of the knee.
        knee: its name.
        entries: of the cache, one for each row of the manifest.
        labels: values of each target, one for each row.

    Raises:
        KeyError: no such knee.
    """
    found = np.flatnonzero(manifest.table["knee"] == knee)
    if not len(found):
        raise KeyError(f"{manifest.name}: no knee {knee!r}")
    row = int(found[0])
    facts = {name: str(manifest.table[name].iloc[row]) for name in _TEXTS}
    facts |= {name: values[row].item() for name, values in labels.items()}
    entry = entries[row]
    images: dict[str, Any] = {"mri": tio.ScalarImage(entry, reader=_read_mri, verify_path=False)}
    if read_entry(entry).cartilage is not None:
        images["cartilage"] = tio.LabelMap(entry, reader=_read_cartilage, verify_path=False)
    return tio.Subject(**images, **facts)


def _read_mri(path: Path) -> tuple[Tensor, np.ndarray]:
    entry = read_entry(path)
    return torch.from_numpy(entry.mri.astype(np.float32))[None], entry.affine


def _read_cartilage(path: Path) -> tuple[Tensor, np.ndarray]:
    entry = read_entry(path)
    return torch.from_numpy(np.array(entry.cartilage))[None], entry.affine


def manifest_of_subjects(
    subjects: tio.SubjectsDataset | Sequence[tio.Subject],
    columns: Mapping[str, str] | None = None,
    folder: str | Path | None = None,
) -> Manifest:
    """The manifest of subjects whose images are files, or are written as NIfTI.

    Args:
        subjects: a ``tio.SubjectsDataset`` without a transform, or a list of subjects. Each has an
            image, the id of a person, and what else the manifest is to hold: its columns, and covariates.
        columns: the subjects' own key for columns that they call otherwise, such as ``{"mri": "t1"}``.
        folder: where images that are in memory are written; needed if there are some.

    Raises:
        ValueError: a dataset with a transform, a subject without what is required, images in memory and no
            folder, or a :class:`~oahier.data.ManifestError`.
    """
    if getattr(subjects, "_transform", None) is not None:
        raise ValueError(
            "subjects: the dataset has a transform; give the data module what is deterministic as "
            "`preprocessing` and what is random as `augmentation`, and a dataset without"
        )
    given = subjects.dry_iter() if isinstance(subjects, tio.SubjectsDataset) else subjects
    keys = {name: name for name in COLUMNS} | dict(columns or {})
    rows = [_row(subject, number, keys, folder) for number, subject in enumerate(given)]
    if not rows:
        raise ValueError("subjects: expected at least one, got none")
    files = [Path(row[name]) for row in rows for name in _IMAGES if row.get(name)]
    root = Path(folder).absolute() if folder else Path(os.path.commonpath([file.parent for file in files]))
    for row in rows:
        row |= {name: os.path.relpath(row[name], root) for name in _IMAGES if row.get(name)}
    return Manifest.from_table(pd.DataFrame(rows), root)


def _row(
    subject: tio.Subject, number: int, keys: Mapping[str, str], folder: str | Path | None
) -> dict[str, Any]:
    values: dict[str, Any] = {name: subject[key] for name, key in keys.items() if key in subject}
    values.setdefault("knee", values.get("subject"))
    for name in REQUIRED:
        if values.get(name) is None:
            raise ValueError(
                f"subjects: number {number} has no {keys[name]!r} for the column {name!r}; it has "
                f"{', '.join(subject)}. Name the key by columns={{{name!r}: ...}}"
            )
    own = set(keys.values())
    values |= {key: value for key, value in subject.items() if key not in own and _is_scalar(value)}
    for name in _IMAGES:
        if name in values:
            values[name] = _file_of(values[name], name, str(values["knee"]), folder)
    return values


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, bool, int, float, np.generic))


def _file_of(image: tio.Image, name: str, knee: str, folder: str | Path | None) -> str:
    """The file of an image that was not changed since it was read, else a new one."""
    if isinstance(image.path, Path) and not image._loaded:
        return str(image.path.absolute())
    if folder is None:
        raise ValueError(
            f"subjects: image {name!r} of knee {knee!r} is in memory; give a folder to write it to"
        )
    values = image.numpy()
    if len(values) != 1:
        raise ValueError(
            f"subjects: image {name!r} of knee {knee!r} has {len(values)} channels, expected one"
        )
    if Path(knee).name != knee:
        raise ValueError(
            f"subjects: the knee {knee!r} cannot be a file name; use letters, digits, '-' and '_'"
        )
    path = Path(folder).absolute() / name / f"{knee}.nii.gz"
    return str(write_image(path, values[0], np.asarray(image.affine)))
