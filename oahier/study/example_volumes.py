"""Volumes of a few test knees, for the slices of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oahier.callbacks.files import knee_file, write_arrays
from oahier.data import KneeMRIDataModule
from oahier.hierarchy import FINE
from oahier.types import CARTILAGE_LABELS, MISSING


def browser_knees(knees: Sequence[str], grades: Sequence[int], count: int) -> list[str]:
    """Test knees to show: the first by id of each grade in turn, so that all grades come before a second one.

    >>> browser_knees(["a", "b", "c", "d"], [0, 0, 4, -1], 3)
    ['a', 'b', 'c']
    """
    known = sorted((knee, grade) for knee, grade in zip(knees, grades, strict=True) if grade != MISSING)
    turn: dict[int, int] = {}
    order = []
    for knee, grade in known:
        turn[grade] = turn.get(grade, 0) + 1
        order.append((turn[grade], grade, knee))
    return sorted(knee for _, _, knee in sorted(order)[:count])


def test_knees(data: KneeMRIDataModule, count: int) -> list[str]:
    """The knees of a data module that a report shows."""
    subset = data.manifest.subset("test")
    return browser_knees(subset.table["knee"].tolist(), subset.labels(FINE).tolist(), count)


def write_knees(data: KneeMRIDataModule, folder: Path, count: int) -> list[str]:
    """Write ``<knee>.npz`` with ``mri``, ``cartilage``, ``affine`` and ``spacing`` as the model sees them.

    The data module must be set up for testing. Files that exist are kept.

    Returns:
        The knees.
    """
    chosen = test_knees(data, count)
    dataset = data.dataset("test")
    for knee in chosen:
        path = folder / f"{knee_file(knee)}.npz"
        if path.is_file():
            continue
        sample = dataset[dataset.knees.index(knee)]
        labels = sample["cartilage"].numpy() if "cartilage" in sample else np.zeros(sample["mri"].shape[1:])
        labels = labels.reshape(sample["mri"].shape[1:])
        affine = sample["affine"].double().numpy()
        write_arrays(
            path,
            mri=sample["mri"][0].numpy().astype(np.float16),
            cartilage=np.isin(labels, CARTILAGE_LABELS),
            affine=affine,
            spacing=np.linalg.norm(affine[:3, :3], axis=0),
        )
    return chosen
