"""Checks of the data module's arguments, and the folder of its cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from oahier.data.manifest.columns import LEVELS, row_number
from oahier.data.manifest.manifest import Manifest
from oahier.data.splitting.plans import SplitFractions, SplitPlan
from oahier.problems import ManifestError, Problem
from oahier.types import MISSING

if TYPE_CHECKING:
    from oahier.data.transforms import RecordedTransform

_LEAST = 8
"""Voxels along the second shortest axis; one axis may be a single slice."""


def cache_folder(cache: str | Path | None, manifest: Manifest) -> Path:
    """The folder asked for, else that of the environment, else one beside the manifest."""
    chosen = cache or os.environ.get("OAHIER_CACHE") or manifest.root / ".oahier-cache"
    return Path(chosen).expanduser().absolute()


def with_given_splits(
    manifest: Manifest, split: SplitPlan | None, seed: int
) -> tuple[Manifest, ManifestError | None]:
    """The manifest with its own splits, else with those of the plan.

    Returns:
        the manifest, and why it could not be split (too few knees can still be predicted).

    Raises:
        ManifestError: a plan and a split column contradict each other.
    """
    if manifest.has_splits and not (split is not None and split.anew):
        if split is None:
            return manifest, None
        if not isinstance(split, SplitFractions) or len(manifest.subset("val")):
            message = (
                "the column is respected: leave the argument `split` out, remove the column, or give "
                "Folds(anew=True)"
            )
            raise ManifestError(manifest.name, [Problem(message, column="split")])
        return manifest.with_validation(split.val, seed), None
    try:
        return manifest.with_splits(split, seed), None
    except ManifestError as error:
        return manifest, error


def recorded(preprocessing: object) -> RecordedTransform | None:
    """A user's transform with its serial form; TorchIO is imported only where there is one.

    Raises:
        ValueError: it is random, or cannot be recorded.
    """
    if preprocessing is None:
        return None
    from oahier.data.transforms import RecordedTransform

    return RecordedTransform.of(preprocessing)


def labels_to_balance(manifest: Manifest) -> Int64[np.ndarray, " knees"]:
    """The finest known level of the training knees.

    Raises:
        ManifestError: none of them has a label.
    """
    training = manifest.subset("train")
    for name in reversed(LEVELS):
        labels = training.table[name].to_numpy(np.int64)
        if (labels != MISSING).any():
            return labels
    message = "balanced=True needs KL or OA labels on training knees; fill them in or set it to False"
    raise ManifestError(manifest.name, [Problem(message)])


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
    if sorted(shape)[1] < _LEAST:
        raise ValueError(
            f"shape: expected {_LEAST} or more voxels along two axes at least, got {tuple(shape)}, in which "
            "no knee can be seen; a network needs about (32, 48, 48) or more"
        )
    if spacing is not None and (len(spacing) != 3 or not all(0 < length < np.inf for length in spacing)):
        raise ValueError(f"spacing: expected three lengths in mm above 0 (or None), got {tuple(spacing)}")
    if isinstance(targets, str) or not targets:
        raise ValueError(f"targets: expected a list of columns such as ['oa', 'kl'], got {targets!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more knees, got {batch_size}")
    if num_workers < 0:
        raise ValueError(f"num_workers: expected 0 or more processes, got {num_workers}")
