"""Registration of a label map without usable geometry to its image, over exchanged and reversed axes.

Label maps that lost their geometry fit their image voxel by voxel, once the right axes are exchanged and
reversed. Anatomy decides the axis that leads from tibia to femur. The rest is decided by the image: where
bone meets cartilage, cartilage is the brighter of the two in a water-excited gradient echo such as DESS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from jaxtyping import Float64, Int, Shaped, UInt8

from oahier.images import Grid, UnreadableImage
from oahier.images.extent import box_of

FEMUR, FEMORAL_CARTILAGE, TIBIA, TIBIAL_CARTILAGE = 1, 2, 3, 4

LEAST_CONTRAST = 0.88
"""Least share of places where cartilage must be brighter than the bone beneath it."""

LEAST_MARGIN = 0.05
"""Least difference of that share between the best orientation and the next."""

FEW_PLACES = 100
"""Places where bone meets cartilage that a decision needs."""

MANY_PLACES = 100_000
"""Places that are looked at, evenly picked among all."""


@dataclass(frozen=True)
class Orientation:
    """Axes exchanged, then reversed: ``reoriented[i, j, k]`` has the axes ``order`` of the stored map.

    >>> labels = np.arange(24).reshape(2, 3, 4)
    >>> orientation = Orientation((2, 0, 1), (True, False, False))
    >>> orientation.apply(labels).shape, str(orientation)
    ((4, 2, 3), '-3 +1 +2')
    """

    order: tuple[int, int, int]
    reversed: tuple[bool, bool, bool]

    def apply(self, labels: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "i j k"]:
        """The map on the image's axes, as a view."""
        return labels.transpose(self.order)[tuple(slice(None, None, -1 if r else 1) for r in self.reversed)]

    def indices(
        self, stored: Int[np.ndarray, "3 n"], shape: tuple[int, ...]
    ) -> tuple[Int[np.ndarray, " n"], ...]:
        """Indices on the image's axes, for an image of ``shape``, of voxels of the stored map."""
        return tuple(
            shape[axis] - 1 - stored[origin] if self.reversed[axis] else stored[origin]
            for axis, origin in enumerate(self.order)
        )

    def __str__(self) -> str:
        return " ".join(
            f"{'-' if r else '+'}{axis + 1}" for axis, r in zip(self.order, self.reversed, strict=True)
        )


@dataclass(frozen=True)
class Fit:
    """The orientation that was found, and how clearly.

    Args:
        orientation: how the axes of the map become those of the image.
        contrast: share of places where cartilage is brighter than the bone beneath it, 0.5 is chance.
        second: that share for the next best orientation, ``nan`` if there is no other.
        places: number of places.
    """

    orientation: Orientation
    contrast: float
    second: float
    places: int

    def __str__(self) -> str:
        other = "no other orientation fits" if np.isnan(self.second) else f"next best {self.second:.1%}"
        return f"cartilage brighter than bone at {self.contrast:.1%} of {self.places} places ({other})"


def orientations(stored: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[Orientation]:
    """All ways to lay a map of the shape ``stored`` on an image of ``shape``, at most 48."""
    for order in permutations(range(3)):
        if tuple(stored[axis] for axis in order) == tuple(shape):
            for signs in product((False, True), repeat=3):
                yield Orientation(order, signs)  # type: ignore[arg-type]


def find_orientation(
    name: str, labels: UInt8[np.ndarray, "a b c"], image: Shaped[np.ndarray, "i j k"], grid: Grid
) -> Fit:
    """Find how a map lies on the image.

    Args:
        name: of the map, for messages.
        labels: 1 femur, 2 femoral cartilage, 3 tibia, 4 tibial cartilage (5 counts as 4).
        image: voxels, axes nearest to right, anterior, superior.
        grid: of the image.

    Raises:
        UnreadableImage: the shapes do not fit, a bone or its cartilage is missing, no orientation fits, or
            several do.
    """
    possible = list(orientations(labels.shape, image.shape))
    if not possible:
        raise UnreadableImage(
            f"{name}: expected the image's {_sizes(image.shape)} voxels in any order of axes, got "
            f"{_sizes(labels.shape)}; is it the map of another image?"
        )
    way = _way_up(name, labels)
    upright = [orientation for orientation in possible if _is_upright(orientation, way, grid)]
    if not upright:
        raise UnreadableImage(
            f"{name}: the femur lies above the tibia in no order of the axes that fits the image; is it the "
            "map of another image?"
        )
    bone, cartilage = interfaces(labels)
    if bone.shape[1] < FEW_PLACES:
        raise UnreadableImage(
            f"{name}: expected {FEW_PLACES} or more places where bone meets cartilage, got {bone.shape[1]}"
        )
    found = sorted(
        (
            (contrast(image, orientation, bone, cartilage), -number)
            for number, orientation in enumerate(upright)
        ),
        reverse=True,
    )
    best, number = found[0]
    second = found[1][0] if len(found) > 1 else float("nan")
    fit = Fit(upright[-number], best, second, bone.shape[1])
    if best < LEAST_CONTRAST:
        raise UnreadableImage(
            f"{name}: it fits the image in no orientation: {fit}, expected {LEAST_CONTRAST:.0%} or more; is "
            "it the map of another image?"
        )
    if best - second < LEAST_MARGIN:
        raise UnreadableImage(
            f"{name}: two orientations fit the image almost alike: {fit}, expected {LEAST_MARGIN:.0%} "
            "between them; put it on the image's grid by hand"
        )
    return fit


def interfaces(labels: UInt8[np.ndarray, "a b c"]) -> tuple[Int[np.ndarray, "3 n"], Int[np.ndarray, "3 n"]]:
    """Interfaces of bone and its cartilage: a voxel of each, both the second from the border.

    The voxels at the border itself mix both tissues. All six directions are looked at.
    """
    box = box_of(labels > 0)
    inner = np.where(labels[box] == 5, 4, labels[box]).astype(np.uint8)
    start = np.array([[part.start] for part in box])
    bones: list[np.ndarray] = []
    cartilages: list[np.ndarray] = []
    for axis, step in product(range(3), (1, -1)):
        near = np.moveaxis(inner, axis, 0)[::step]
        a, b, c, d = near[:-3], near[1:-2], near[2:-1], near[3:]
        meets = (a == b) & (c == d) & ((a == FEMUR) | (a == TIBIA)) & (c == a + 1)
        index = np.array(np.nonzero(meets))
        for target, offset in ((bones, 0), (cartilages, 3)):
            moved = index.copy()
            moved[0] += offset
            if step < 0:
                moved[0] = near.shape[0] - 1 - moved[0]
            target.append(np.insert(moved[1:], axis, moved[0], axis=0) + start)
    bone, cartilage = np.concatenate(bones, axis=1), np.concatenate(cartilages, axis=1)
    pick = slice(None, None, max(1, bone.shape[1] // MANY_PLACES))
    return bone[:, pick], cartilage[:, pick]


def contrast(
    image: Shaped[np.ndarray, "i j k"],
    orientation: Orientation,
    bone: Int[np.ndarray, "3 n"],
    cartilage: Int[np.ndarray, "3 n"],
) -> float:
    """Share of places where cartilage is brighter than the bone beneath it; equal ones count half."""
    lower = image[orientation.indices(bone, image.shape)].astype(np.float64)
    upper = image[orientation.indices(cartilage, image.shape)].astype(np.float64)
    return float(np.mean((upper > lower) + 0.5 * (upper == lower)))


def _way_up(name: str, labels: UInt8[np.ndarray, "a b c"]) -> Float64[np.ndarray, "3"]:
    """From the centre of the tibia to that of the femur, in voxels."""
    centres = []
    for value, words in ((TIBIA, "tibia"), (FEMUR, "femur")):
        inside = labels == value
        if not inside.any():
            raise UnreadableImage(f"{name}: no {words} (id {value}) in it, which tells up from down")
        plane = np.count_nonzero(inside, axis=0)
        counts = np.count_nonzero(inside, axis=(1, 2)), plane.sum(axis=1), plane.sum(axis=0)
        centres.append([float(np.average(np.arange(count.size), weights=count)) for count in counts])
    way: np.ndarray = np.subtract(centres[1], centres[0])
    return way


def _is_upright(orientation: Orientation, way: Float64[np.ndarray, "3"], grid: Grid) -> bool:
    """True if the femur lies above the tibia, rather than beside or before it."""
    reoriented = way[list(orientation.order)] * np.where(orientation.reversed, -1, 1)
    millimetres = grid.affine[:3, :3] @ reoriented
    return bool(millimetres[2] > 0 and np.abs(millimetres).argmax() == 2)


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
