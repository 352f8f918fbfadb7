"""A volume turned to right, anterior, superior, which remembers how it was stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from oahier.images.errors import UnreadableImage
from oahier.images.grid import Affine, Grid

_ORTHOGONAL = 1e-3
"""Largest cosine between two voxel axes that still counts as a right angle."""

Turn = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""For every axis of the file: the axis that it becomes, and 1 or -1 (flipped)."""

_UNTURNED: Turn = ((0, 1), (1, 1), (2, 1))

ASSUMED_ORIENTATION = (
    "the header does not say how the voxels lie, so left and right, front and back are assumed: look at its "
    "pictures, and set the orientation if they are wrong"
)


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels ``(i, j, k)`` in the type of the file, and their grid; axes are nearest to RAS.

    Args:
        data: the voxels, usually a view of what the file holds.
        grid: where they lie.
        turn: how the axes of the file became those of ``data``.
        notes: what reading had to repair, assume or pass over.

    >>> stored = np.arange(24).reshape(2, 3, 4)
    >>> image = turned_to_ras(Path("knee.nii"), stored, np.diag([-1.0, 1.0, 1.0, 1.0]))
    >>> bool((image.data == stored[::-1]).all()), image.source.shape
    (True, (2, 3, 4))
    >>> bool((image.in_source_axes(image.data) == stored).all())
    True
    """

    data: Shaped[np.ndarray, "i j k"]
    grid: Grid
    turn: Turn = _UNTURNED
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> Grid:
        """Shape and affine in the order of the file's own axes."""
        from nibabel.orientations import inv_ornt_aff

        shape = tuple(self.grid.shape[axis] for axis, _ in self.turn)
        back = np.linalg.inv(inv_ornt_aff(np.array(self.turn, dtype=float), shape))
        return Grid(shape, np.asarray(self.grid.affine @ np.rint(back), dtype=np.float64))

    def in_source_axes(self, values: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "a b c"]:
        """An array of this image's shape in the order of the file's own axes, as a view.

        Raises:
            ValueError: ``values`` has another shape than the image.
        """
        if values.shape != self.data.shape:
            raise ValueError(f"expected an array of the image's shape {self.data.shape}, got {values.shape}")
        values = values.transpose([axis for axis, _ in self.turn])
        return values[tuple(slice(None, None, sign) for _, sign in self.turn)]


def three_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape without trailing axes of length 1, which must leave three axes of two voxels or more."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 2:
        kind = f"{len(shape)}D" if len(shape) != 3 else "single-slice"
        raise UnreadableImage(
            f"{path}: expected a 3D volume, got a {kind} image of {' x '.join(map(str, shape))}; "
            "give one volume (time point, echo) per row"
        )
    return shape[0], shape[1], shape[2]


def turned_to_ras(path: Path, data: np.ndarray, affine: Affine, notes: tuple[str, ...] = ()) -> Image:
    """Permute and flip the axes, as views, and correct the affine for it.

    Raises:
        UnreadableImage: the affine is not finite, has an axis without length, or is sheared.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    _check_affine(path, affine)
    orientation = io_orientation(affine)
    turned = np.asarray(affine @ inv_ornt_aff(orientation, data.shape), dtype=np.float64)
    ras = apply_orientation(data, orientation)
    first, second, third = ((int(axis), int(sign)) for axis, sign in orientation)
    grid = Grid(tuple(int(count) for count in ras.shape), turned)
    return Image(ras, grid, (first, second, third), notes)


def turned_grid(path: Path, shape: tuple[int, int, int], affine: Affine) -> Grid:
    """As :func:`turned_to_ras`, for a header alone."""
    return turned_to_ras(path, np.broadcast_to(np.zeros((), dtype=np.uint8), shape), affine).grid


def _check_affine(path: Path, affine: Affine) -> None:
    axes = affine[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):  # damaged headers hold 1e300
        lengths = np.linalg.norm(axes, axis=0)
    usable = np.isfinite(affine).all() and np.isfinite(lengths).all() and (lengths >= 1e-6).all()
    if not usable or np.abs(affine).max() > 1e9:
        raise UnreadableImage(
            f"{path}: expected a finite voxel size above 0 in the header, got the affine {affine.tolist()}"
        )
    cosines = (axes / lengths).T @ (axes / lengths)
    if np.abs(cosines - np.eye(3)).max() > _ORTHOGONAL:
        raise UnreadableImage(
            f"{path}: expected voxel axes at right angles, got a sheared grid; resample the image first"
        )
