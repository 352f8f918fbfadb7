"""Slices of a few test knees with saliency, packed for the page.

A volume is one image: its sagittal slices side by side, columns along superior, rows along anterior. The
page's script takes it apart and cuts the other planes from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from oahier.callbacks.files import knee_file
from oahier.images import read_image
from oahier.images.embedded import block_means, data_address, grey_levels
from oahier.images.extent import planes_through
from oahier.images.image import turned_to_ras
from oahier.study.cell_files import read_arrays
from oahier.study.cells import Cell
from oahier.study.report.axes import grade_name, labels_by_knee
from oahier.study.report.contents import Contents
from oahier.study.report.names import method_name
from oahier.types import MISSING

_LARGEST_PICTURE = 15_000_000
"""Pixels of an image that every browser can take apart."""
_LOSSLESS = 400_000
"""Voxels of all knees up to which slices are kept without loss."""
_MAP_VOXELS = 12_000_000
"""Voxels of all saliency maps together; beyond it, maps are averaged over blocks."""
_LEVELS = 64

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Volume:
    """A knee, axes right, anterior, superior."""

    name: str
    mri: Array
    cartilage: Array
    affine: Array

    @property
    def spacing(self) -> list[float]:
        """Millimetres per voxel."""
        return [float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0)]


def browser(contents: Contents) -> dict[str, Any] | None:
    """What the page's browser shows, or ``None`` where no knee or no map was kept.

    Of each condition the first finished replicate is shown.
    """
    volumes, shown = read_volumes(contents), shown_cells(contents)
    methods = methods_of(shown)
    if not volumes or not methods:
        return None
    size = volumes[0].mri.size * len(volumes) * len(methods) * len(shown)
    step = max(1, math.ceil((size / _MAP_VOXELS) ** (1 / 3)))
    lossless = sum(volume.mri.size for volume in volumes) <= _LOSSLESS
    labels = _labels(contents)
    knees = []
    for volume in volumes:
        maps = {
            method: {name: _map(cell.folder / "saliency" / method, volume, step) for name, cell in shown}
            for method in methods
        }
        knees.append(_packed(volume, labels.get(volume.name, ""), maps, lossless=lossless))
    replicate = contents.study.replicate
    return {
        "knees": knees,
        "methods": [{"key": method, "name": method_name(method)} for method in methods],
        "conditions": [
            {"name": name, "cell": cell.name, "note": _replicate(cell, replicate)} for name, cell in shown
        ],
        "block": step,
        "levels": _LEVELS - 1,
    }


def _replicate(cell: Cell, axis: str) -> str:
    return f"{axis} {cell.factors[axis]}" if axis in cell.factors else ""


def shown_cells(contents: Contents) -> list[tuple[str, Cell]]:
    """Of each condition its name and the first finished replicate with maps."""
    found = []
    for cells in contents.study.conditions().values():
        finished = [cell for cell in cells if cell.state == "finished"]
        with_maps = [cell for cell in finished if any((cell.folder / "saliency").glob("*/*.nii.gz"))]
        if with_maps:
            found.append((contents.condition(with_maps[0].factors), with_maps[0]))
    return found


def methods_of(shown: Sequence[tuple[str, Cell]]) -> list[str]:
    """Saliency methods that cells have maps of."""
    return sorted({path.name for _, cell in shown for path in (cell.folder / "saliency").glob("*/")})


def read_volumes(contents: Contents) -> list[Volume]:
    """The knees whose volumes the study kept."""
    return [_read_volume(path) for path in sorted((contents.study.folder / "knees").glob("*.npz"))]


def _labels(contents: Contents) -> dict[str, str]:
    found = map(labels_by_knee, contents.finished)
    known = next((labels for labels in found if set(labels.values()) - {MISSING}), {})
    return {knee: grade_name(grade) for knee, grade in known.items()}


def _read_volume(path: Path) -> Volume:
    arrays = read_arrays(path, ("mri", "cartilage", "affine"))
    if arrays is None or arrays[0].ndim != 3 or arrays[1].shape != arrays[0].shape:
        raise ValueError(f"{path}: expected mri and cartilage of one shape (i, j, k)")
    mri, cartilage, affine = arrays
    image, mask = (turned_to_ras(path, array, affine) for array in (mri.astype(np.float32), cartilage))
    return Volume(unquote(path.stem), np.nan_to_num(image.data), mask.data.astype(bool), image.grid.affine)


def _map(folder: Path, volume: Volume, step: int) -> dict[str, Any] | None:
    """Saliency on the knee's grid relative to its maximum, averaged over blocks; ``None`` without a file."""
    values = saliency_of(folder, volume)
    if values is None:
        return None
    values = block_means(values, (step, step, step))
    peak = float(values.max())
    if not peak > 0:
        return {"empty": True}
    levels = np.round(values / peak * (_LEVELS - 1)).astype(np.uint8)
    return _picture(levels, (step, step, step), lossless=True)


def saliency_of(folder: Path, volume: Volume) -> Array | None:
    """Saliency at the voxels of a knee, none below 0; ``None`` without a file."""
    path = folder / f"{knee_file(volume.name)}.nii.gz"
    return np.clip(np.nan_to_num(_on_grid(path, volume)), 0, None) if path.is_file() else None


def _on_grid(path: Path, volume: Volume) -> Array:
    """Values of an image at the voxels of a volume, by their affines; zero outside the image."""
    from scipy.ndimage import affine_transform

    image = read_image(path)
    values, affine = image.data.astype(np.float32), image.grid.affine
    if values.shape == volume.mri.shape and np.allclose(affine, volume.affine, atol=1e-3):
        return values
    across = np.linalg.inv(affine) @ volume.affine
    mode = "nearest" if _covers(values.shape, across, volume.mri.shape) else "constant"
    matrix = across[:3, :3]
    scales = np.diag(matrix)
    straight = np.allclose(matrix, np.diag(scales), atol=1e-6)  # each axis by itself is much faster
    made = affine_transform(
        values, scales if straight else matrix, across[:3, 3], output_shape=volume.mri.shape, order=1,
        mode=mode,
    )  # fmt: skip
    return np.asarray(made)


def _covers(shape: Sequence[int], across: Array, output: Sequence[int]) -> bool:
    """True where all voxels asked for lie within half a voxel of an image's outermost ones."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in output])).reshape(3, -1)
    places = across[:3, :3] @ corners + across[:3, 3:]
    return bool((places > -0.75).all() and (places < np.array(shape)[:, None] - 0.25).all())


def _packed(volume: Volume, label: str, maps: Mapping[str, Any], *, lossless: bool) -> dict[str, Any]:
    shape = volume.mri.shape
    step = max(1, math.ceil(math.sqrt(volume.mri.size / _LARGEST_PICTURE)))
    block = (1, step, step)
    mri = block_means(volume.mri, block)
    low, high = np.percentile(mri, (1, 99.5))
    grey = grey_levels(mri, float(low), float(high))
    inside = block_means(volume.cartilage.astype(np.float32), block) >= 0.5
    return {
        "name": volume.name,
        "label": label,
        "size": list(shape),
        "spacing": [round(length, 4) for length in volume.spacing],
        "mri": _picture(grey, block, lossless=lossless),
        "cartilage": _picture(inside.astype(np.uint8), block, lossless=True) if inside.any() else None,
        "start": planes_through(volume.cartilage),
        "maps": maps,
    }


def _picture(values: Array, block: Sequence[int], *, lossless: bool) -> dict[str, Any]:
    """Sagittal slices as tiles of one grey image; tiles of JPEGs start at its blocks of eight."""
    from PIL import Image

    slices, rows, columns = values.shape
    unit = 1 if lossless else 8
    tile = (-(-rows // unit) * unit, -(-columns // unit) * unit)
    across = max(1, round(math.sqrt(slices * tile[0] / tile[1])))
    down = -(-slices // across)
    canvas = np.zeros((down * tile[0], across * tile[1]), dtype=np.uint8)
    for index in range(slices):
        top, left = index // across * tile[0], index % across * tile[1]
        padded = np.pad(values[index], ((0, tile[0] - rows), (0, tile[1] - columns)), mode="edge")
        canvas[top : top + tile[0], left : left + tile[1]] = padded
    kind, options = ("png", {"optimize": True}) if lossless else ("jpeg", {"quality": 82})
    return {
        "source": data_address(Image.fromarray(canvas), kind, **options),
        "shape": list(values.shape),
        "block": list(block),
        "across": across,
        "tile": list(tile),
    }
