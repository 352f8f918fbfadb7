"""Reading and preprocessing of scans as at training, with warnings about unusual ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from oahier.data.preprocessing import PreparedKnee, Preprocessing, preprocess
from oahier.images import Grid, Image, UnreadableImage
from oahier.images.knee import KneeImages, read_knee, volume_faults
from oahier.prediction.geometry import outside_share
from oahier.prediction.inputs import Scan
from oahier.processes import process_map

if TYPE_CHECKING:
    from oahier.images.dicom import Series

OUTSIDE = 0.2
"""Share of the network's field of view outside the scan from which a warning is given."""
UNSEEN = 0.6
"""Share of the scan outside the network's field of view from which a warning is given."""
COARSE = 2.0
"""Ratio of the scan's voxels to the network's from which a warning is given."""
FEW_INTENSITIES = 16
"""Number of different intensities up to which a warning is given."""
_MIDDLE = 32
NOISE = 0.2
"""Correlation of neighbouring voxels below which a warning is given."""


class UnusableScan(ValueError):
    """A scan that cannot be predicted; the message says why."""


@dataclass(frozen=True, eq=False)
class LoadedScan:
    """A scan as it lies on disk, and as the network sees it."""

    scan: Scan
    image: Image
    cartilage: Image | None
    prepared: PreparedKnee
    outside: float
    """Share of the network's field of view that lies outside the scan."""
    warnings: tuple[str, ...]

    @property
    def seen(self) -> Grid:
        """The grid of the network's volume."""
        shape = tuple(int(count) for count in self.prepared.mri.shape)
        return Grid(shape, np.asarray(self.prepared.affine, dtype=np.float64))


def load_scan(scan: Scan, preprocessing: Preprocessing) -> LoadedScan:
    """Read and prepare a scan.

    Raises:
        UnusableScan: damaged, constant, not a volume, or outside the field of view altogether.
    """
    images, notes = _read(scan)
    notes = [*images.mri.notes, *notes]
    mirror = preprocessing.mirrors(scan.side)
    try:
        prepared = preprocess(images, preprocessing, mirror=mirror)
    except ValueError as error:
        raise UnusableScan(str(error)) from error
    except MemoryError as error:
        size = " x ".join(map(str, preprocessing.shape))
        raise UnusableScan(f"not enough memory for a volume of {size} voxels; use fewer workers") from error
    shape = tuple(int(count) for count in prepared.mri.shape)
    seen = Grid(shape, np.asarray(prepared.affine, dtype=np.float64))
    outside = outside_share(seen, images.mri.grid)
    warnings = (*scan.notes, *notes, *input_warnings(images.mri, seen))
    return LoadedScan(scan, images.mri, images.cartilage, prepared, outside, warnings)


def load_or_reason(scan: Scan, preprocessing: Preprocessing) -> LoadedScan | UnusableScan:
    """A loaded scan, or the error that says why it cannot be predicted."""
    try:
        return load_scan(scan, preprocessing)
    except UnusableScan as error:
        return error
    except OSError as error:
        return UnusableScan(f"{scan.source}: cannot be read: {error.strerror or error}")


def load_scans(
    scans: Sequence[Scan], preprocessing: Preprocessing, workers: int
) -> Iterator[LoadedScan | UnusableScan]:
    """Each scan as :func:`load_or_reason` gives it, read by other processes ahead of time."""
    load = partial(load_or_reason, preprocessing=preprocessing)
    return process_map(load, scans, workers, ahead=1, name=lambda scan: scan.source)


def _read(scan: Scan) -> tuple[KneeImages, list[str]]:
    """The images of a scan; a label map that cannot be used is not needed."""
    if scan.series is not None:
        return _read_series(scan.series), []
    images, findings = read_knee(scan.path, scan.cartilage)
    if images is not None:
        return images, []
    notes = []
    if scan.cartilage is not None:
        notes = [f"label map not used: {item.message}" for item in findings if item.column == "cartilage"]
        images, findings = read_knee(scan.path, None)
    if images is None:
        raise UnusableScan("; ".join(item.message for item in findings if item.severity == "error"))
    return images, notes


def _read_series(series: Series) -> KneeImages:
    from oahier.images.dicom import read_series

    try:
        image = read_series(series)
    except (UnreadableImage, OSError) as error:
        raise UnusableScan(str(error)) from error
    faults = volume_faults(image.data)
    if faults:
        raise UnusableScan("; ".join(faults))
    return KneeImages(image, None)


def input_warnings(image: Image, seen: Grid) -> list[str]:
    """What is odd about a scan before any network looks at it."""
    found = []
    outside, unseen = outside_share(seen, image.grid), outside_share(image.grid, seen)
    extent = " x ".join(f"{length:.0f}" for length in image.grid.extent)
    if outside > OUTSIDE:
        found.append(
            f"{100 * outside:.0f} % of the volume that the model looks at lies outside the scan "
            f"({extent} mm): another field of view than at training"
        )
    if unseen > UNSEEN:
        found.append(
            f"the model looks at the middle {100 * (1 - unseen):.0f} % of the scan ({extent} mm) only"
        )
    ratio = np.array(image.grid.spacing) / np.array(seen.spacing)
    if ratio.max() > COARSE:
        found.append(
            f"voxels of {max(image.grid.spacing):.1f} mm, {ratio.max():.1f} times as coarse as those that "
            "the model was given"
        )
    likeness = _likeness(image.data)
    if likeness < NOISE:
        found.append(
            f"neighbouring voxels are hardly alike (correlation {likeness:.2f}): noise, not an image?"
        )
    different = len(np.unique(image.data[::2, ::2, ::2]))
    if different <= FEW_INTENSITIES:
        found.append(f"only {different} different intensities: is this a label map instead of an MRI?")
    return found


def _likeness(values: Shaped[np.ndarray, "i j k"]) -> float:
    """Largest correlation of voxels with their next neighbours along an axis, in the middle of the volume."""
    middle = tuple(slice(max(0, count // 2 - _MIDDLE), count // 2 + _MIDDLE + 1) for count in values.shape)
    volume = values[middle].astype(np.float64)
    volume -= volume.mean()
    variance = float(np.mean(volume**2))
    if not variance > 0:
        return 1.0
    pairs = ((np.delete(volume, -1, axis), np.delete(volume, 0, axis)) for axis in range(3))
    return max(float(np.mean(first * second)) / variance for first, second in pairs)
