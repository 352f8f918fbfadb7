"""Conversion of label maps with other ids, or on another grid, to this library's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from oahier.images import Grid, Image, UnreadableImage
from oahier.images.knee import LABEL_IDS

OAI_DESS_IDS: Mapping[int, int] = {1: 2, 2: 4, 3: 5, 4: 0, 5: 1, 6: 3, 7: 0, 8: 0, 9: 0, 10: 0}
"""Ids of the OAI DESS maps made with pymskt: patella, patellar cartilage, fibula and menisci are left out."""


@dataclass(frozen=True)
class LabelIds:
    """A :data:`~oahier.intake.MaskStep` that maps labels to this library's ids.

    Args:
        ids: our id (0 background, 1 femur, 2 femoral cartilage, 3 tibia, 4 medial and 5 lateral tibial
            cartilage) for each id of the map; 0 stays 0. An id that is not named is an error, so that
            nothing vanishes by mistake.
        resample: bring the map onto the image's grid by its nearest voxel where the grids differ; otherwise
            another grid is an error.

    Raises:
        ValueError: an id that this library does not have.

    >>> LabelIds({1: 2, 2: 4, 3: 5})
    LabelIds(ids=((1, 2), (2, 4), (3, 5)), resample=False)
    """

    ids: Mapping[int, int] | tuple[tuple[int, int], ...]
    resample: bool = False

    def __post_init__(self) -> None:
        pairs = tuple(sorted(dict(self.ids).items()))
        wrong = [(theirs, ours) for theirs, ours in pairs if ours not in LABEL_IDS]
        if wrong:
            raise ValueError(
                f"label ids: expected {wrong[0][0]} to become one of {', '.join(map(str, LABEL_IDS))}, "
                f"got {wrong[0][1]}"
            )
        object.__setattr__(self, "ids", pairs)

    def __call__(self, path: Path, found: Image, mri: Image) -> tuple[UInt8[np.ndarray, "i j k"], list[str]]:
        """The map with our ids on the grid of the image, and what was done to it.

        Raises:
            UnreadableImage: an id that is not named, or another grid.
        """
        labels, notes = self._renamed(path, found.data)
        if found.grid.same_as(mri.grid):
            return labels, notes
        if not self.resample:
            raise UnreadableImage(
                f"{path}: mask of another grid: expected {mri.grid} as the image has, got "
                f"{found.grid}; if both show the same knee, resample by the nearest voxel (--resample-masks)"
            )
        moved = resampled(labels, found.grid, mri.grid)
        kept = _volume(moved, mri.grid) / _volume(labels, found.grid) if labels.any() else 1.0
        if kept < 0.5:
            raise UnreadableImage(
                f"{path}: only {kept:.0%} of the labelled volume lies in the image; is it of another knee?"
            )
        notes.append(f"{path.name}: resampled to {mri.grid}, {kept:.1%} of the labelled volume kept")
        return moved, notes

    def _renamed(
        self, path: Path, data: Shaped[np.ndarray, "i j k"]
    ) -> tuple[UInt8[np.ndarray, "i j k"], list[str]]:
        table = {0: 0} | dict(self.ids)
        values = np.unique(data)
        unknown = [f"{value:g}" for value in values if value not in table]
        if unknown:
            shown = ", ".join(unknown[:8]) + (", ..." if len(unknown) > 8 else "")
            raise UnreadableImage(
                f"{path}: label ids {shown} are not named; expected {', '.join(map(str, sorted(table)))}. "
                "Name each, with 0 for what is not needed"
            )
        ours = np.array([table[int(value)] for value in values], dtype=np.uint8)
        labels = ours[np.searchsorted(values, data)]
        changed = [f"{int(value)}->{new}" for value, new in zip(values, ours, strict=True) if value != new]
        return labels, [f"{path.name}: label ids {', '.join(changed)}"] if changed else []


def resampled(labels: UInt8[np.ndarray, "a b c"], old: Grid, new: Grid) -> UInt8[np.ndarray, "i j k"]:
    """Labels of the nearest voxels on another grid; 0 outside of the old one."""
    from scipy.ndimage import affine_transform

    voxels = np.linalg.inv(old.affine) @ new.affine
    moved = affine_transform(
        labels, voxels[:3, :3], voxels[:3, 3], output_shape=new.shape, order=0, prefilter=False,
        mode="grid-constant", cval=0,
    )  # fmt: skip
    return np.asarray(moved)


def _volume(labels: UInt8[np.ndarray, "i j k"], grid: Grid) -> float:
    """Labelled cubic millimetres."""
    return float(np.count_nonzero(labels)) * float(np.prod(grid.spacing))
