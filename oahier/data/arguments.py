"""What the data module is given: checks, and where its cache lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oahier.data.manifest.columns import row_number
from oahier.data.manifest.manifest import Manifest
from oahier.problems import ManifestError, Problem


def cache_folder(cache: str | Path | None, manifest: Manifest) -> Path:
    """The folder asked for, else that of the environment, else one beside the manifest."""
    chosen = cache or os.environ.get("OAHIER_CACHE") or manifest.root / ".oahier-cache"
    return Path(chosen).expanduser().absolute()


def require_sides(manifest: Manifest) -> None:
    """Mirroring left knees needs to know them.

    Raises:
        ManifestError: knees without a side, each with its row.
    """
    unknown = manifest.table.index[manifest.table["side"] == ""]
    if len(unknown):
        message = "mirror_left=True needs the side (left, right) of every knee, got an empty cell"
        knees = manifest.table["knee"]
        problems = [Problem(message, row_number(row), str(knees.at[row]), "side") for row in unknown]
        raise ManifestError(manifest.name, problems)


def check_arguments(
    shape: Sequence[int],
    spacing: Sequence[float] | None,
    targets: Sequence[str],
    batch_size: int,
    num_workers: int,
) -> None:
    """Raise ``ValueError`` for a number out of range."""
    if len(shape) != 3 or any(int(count) != count or count < 1 for count in shape):
        raise ValueError(f"shape: expected three whole numbers of voxels above 0, got {tuple(shape)}")
    if spacing is not None and (len(spacing) != 3 or not all(0 < length < np.inf for length in spacing)):
        raise ValueError(f"spacing: expected three lengths in mm above 0 (or None), got {tuple(spacing)}")
    if isinstance(targets, str) or not targets:
        raise ValueError(f"targets: expected a list of columns such as ['oa', 'kl'], got {targets!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more knees, got {batch_size}")
    if num_workers < 0:
        raise ValueError(f"num_workers: expected 0 or more processes, got {num_workers}")
