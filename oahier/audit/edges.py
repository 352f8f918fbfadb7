"""Agreement of the edges of a cartilage map with edges of the image, seen from one knee alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

from oahier.audit.findings import finding, numbers_of
from oahier.audit.outliers import FEWEST
from oahier.images.extent import box_of
from oahier.problems import Problem

_NEAR = 3
"""Voxels around the map that count as beside it."""
_NO_EDGE = 1.25
"""Maps that fit have 2.8 to 4 on real and synthetic knees, maps of another knee 1.1."""
_LESS = 0.55
"""Share of the usual contrast: a map moved by one voxel has about 0.65, by two 0.45."""


def edge_contrast(data: Shaped[np.ndarray, "i j k"], inside: Bool[np.ndarray, "i j k"]) -> float:
    """Mean intensity step across the edge of a map, over the mean step between voxels beside it.

    Steps are absolute differences of neighbouring voxels along the three axes. Those beside the map lie
    within three voxels of it, on either side, and do not cross its edge. A map that was laid anywhere gives
    about 1.

    Returns:
        NaN where there is no edge, or nothing beside it differs.

    >>> image = np.zeros((12, 12, 12)) + np.arange(12)[:, None, None]
    >>> inside = np.zeros(image.shape, dtype=bool)
    >>> inside[4:8, 4:8, 4:8] = True
    >>> round(edge_contrast(image + 20 * inside, inside), 1), round(edge_contrast(image, inside), 1)
    (60.0, 1.0)
    """
    from scipy.ndimage import binary_dilation

    if not inside.any():
        return float("nan")
    box = tuple(slice(max(at.start - _NEAR - 1, 0), at.stop + _NEAR + 1) for at in box_of(inside))
    values, inside = data[box].astype(np.float32), inside[box]
    beside = binary_dilation(inside, iterations=_NEAR)
    across, within = [], []
    for axis in range(3):
        lower, upper = (_cut(inside, axis, end) for end in (0, 1))
        step, crosses = np.abs(np.diff(values, axis=axis)), lower != upper
        across.append(step[crosses])
        within.append(step[_cut(beside, axis, 0) & _cut(beside, axis, 1) & ~crosses])
    steps, usual = np.concatenate(across), np.concatenate(within)
    if not (steps.size and usual.size and usual.mean() > 0):
        return float("nan")
    return float(steps.mean(dtype=np.float64) / usual.mean(dtype=np.float64))


def edge_problems(knees: pd.DataFrame) -> Iterator[Problem]:
    """Label maps whose cartilage has no edges in the image, or far weaker ones than in the other knees.

    Args:
        knees: the manifest's table with a column ``facts``.
    """
    known = pd.Series(numbers_of(knees, "edges"), index=knees.index).dropna()
    usual = float(known.median()) if len(known) >= FEWEST else float("nan")
    for index, contrast in known.items():
        if contrast >= _NO_EDGE and not contrast < _LESS * usual:
            continue
        others = f", {usual:.1f} in the other knees" if usual == usual else ", 2 or more where a map fits"
        message = (
            "the edges of the cartilage do not lie on edges of the image (intensity steps "
            f"{contrast:.1f} times those beside them{others}): is the map moved, or of another knee?"
        )
        yield finding(knees, index, "cartilage", message, "label map")


def _cut(values: Bool[np.ndarray, "i j k"], axis: int, end: int) -> Bool[np.ndarray, "a b c"]:
    """All slices along an axis but the last (``end`` 0) or the first (1)."""
    part = [slice(None)] * 3
    part[axis] = slice(end, values.shape[axis] - 1 + end)
    return values[tuple(part)]
