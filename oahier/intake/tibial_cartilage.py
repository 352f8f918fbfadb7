"""Separation of medial and lateral tibial cartilage in label maps that have one id for both."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8

from oahier.images import UnreadableImage
from oahier.intake.mask_geometry import TIBIA, TIBIAL_CARTILAGE

MEDIAL, LATERAL = 4, 5

MIDDLE = (0.3, 0.7)
"""Share of the tibia's width, from the patient's left, within which the two plateaus are parted."""

DEEPEST = 0.5
"""Largest count of cartilage between the plateaus, as a share of the smaller plateau's largest count."""

SMALLEST = 0.02
"""Least share of the cartilage on either side."""


def part_tibial_cartilage(
    name: str, labels: UInt8[np.ndarray, "i j k"], side: str
) -> tuple[UInt8[np.ndarray, "i j k"], str]:
    """Give the medial plateau the id 4 and the lateral one the id 5.

    They are parted at the sagittal slice with the least cartilage in the middle of the tibia's width. The
    medial plateau of a right knee lies to the patient's left, that of a left knee to the right.

    Args:
        name: of the map, for messages.
        labels: axes nearest to right, anterior, superior; 3 tibia, 4 all tibial cartilage.
        side: left or right.

    Returns:
        the labels, and a note.

    Raises:
        UnreadableImage: no side, no tibial cartilage, or no gap between the plateaus.
    """
    if side not in ("left", "right"):
        raise UnreadableImage(
            f"{name}: medial and lateral tibial cartilage share the id 4, and without the side of the knee "
            "they cannot be told apart"
        )
    counts = np.count_nonzero(labels == TIBIAL_CARTILAGE, axis=(1, 2))
    tibia = np.flatnonzero(np.count_nonzero(labels == TIBIA, axis=(1, 2)))
    if not counts.any() or not tibia.size:
        raise UnreadableImage(f"{name}: no tibial cartilage (id {TIBIAL_CARTILAGE}) or no tibia in it")
    at = _gap(counts, int(tibia[0]), int(tibia[-1]))
    left, right = int(counts[:at].sum()), int(counts[at:].sum())
    lesser = min(counts[:at].max(initial=0), counts[at:].max(initial=0))
    if counts[at] > DEEPEST * lesser or min(left, right) < SMALLEST * counts.sum():
        raise UnreadableImage(
            f"{name}: the tibial cartilage has no gap in the middle that parts medial from lateral "
            f"({counts[at]} voxels in its thinnest slice, {lesser} in the lesser plateau's thickest; "
            f"{left} voxels to the left, {right} to the right)"
        )
    parted = labels.copy()
    outer = parted[at:] if side == "right" else parted[:at]
    outer[outer == TIBIAL_CARTILAGE] = LATERAL
    medial, lateral = (left, right) if side == "right" else (right, left)
    return parted, f"tibial cartilage parted into {medial} medial and {lateral} lateral voxels"


def _gap(counts: Int[np.ndarray, " i"], first: int, last: int) -> int:
    """Slice with the least cartilage in the middle of the tibia; the central one of several."""
    width = last - first
    start, stop = (first + round(share * width) for share in MIDDLE)
    middle = counts[start : stop + 1]
    lowest = np.flatnonzero(middle == middle.min())
    centre = (first + last) / 2 - start
    return start + int(lowest[np.abs(lowest - centre).argmin()])
