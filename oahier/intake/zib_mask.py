"""Conversion of label maps of the Zuse Institute Berlin to this library's grid and ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from oahier.images import Image, UnreadableImage
from oahier.intake.mask_geometry import find_orientation
from oahier.intake.tibial_cartilage import part_tibial_cartilage

LEAST_TISSUE = 0.95
"""Least share of a label map that must lie in tissue."""

_BLUR = 4.0
_AIR = 0.05


@dataclass(frozen=True)
class ZibMask:
    """A :data:`~oahier.intake.MaskStep` for label maps without geometry.

    Args:
        side: of the knee.
    """

    side: str

    def __call__(self, path: Path, found: Image, mri: Image) -> tuple[UInt8[np.ndarray, "i j k"], list[str]]:
        """The map on the image's grid with our ids, and how that was found.

        Raises:
            UnreadableImage: damaged, of other ids, of another image, or ambiguous.
        """
        ids = np.unique(found.data)
        if not set(ids.tolist()) <= {0, 1, 2, 3, 4}:
            shown = ", ".join(f"{value:g}" for value in ids[:8])
            raise UnreadableImage(
                f"{path}: expected the ids 0 background, 1 femur, 2 femoral cartilage, 3 tibia, 4 tibial "
                f"cartilage, got {shown}"
            )
        stored = found.data.astype(np.uint8)
        fit = find_orientation(str(path), stored, mri.data, mri.grid)
        labels, parted = part_tibial_cartilage(str(path), fit.orientation.apply(stored), self.side)
        share = tissue_share(labels, mri)
        if share < LEAST_TISSUE:
            raise UnreadableImage(
                f"{path}: {share:.1%} of it lies in tissue, expected {LEAST_TISSUE:.0%} or more; is it the "
                "map of another image?"
            )
        return labels, [
            f"axes of the map {fit.orientation}: {fit}",
            parted,
            f"{share:.1%} of the map lies in tissue",
        ]


def tissue_share(labels: UInt8[np.ndarray, "i j k"], mri: Image) -> float:
    """Share of the labelled voxels that lie in tissue: where the image, blurred, is brighter than air.

    Air is darker than 5 % of the bright end (99th percentile) of the image blurred over 4 mm.
    """
    from scipy import ndimage

    widths = [max(1, round(_BLUR / length)) for length in mri.grid.spacing]
    smooth: Shaped[np.ndarray, "i j k"] = mri.data.astype(np.float32)
    for axis, width in enumerate(widths):
        smooth = ndimage.uniform_filter1d(smooth, width, axis=axis, mode="nearest")
    smooth = smooth - smooth.min()
    return float(np.mean(smooth[labels > 0] > _AIR * np.percentile(smooth[::2, ::2, ::2], 99)))
