"""Target grids, and resampling onto them along one axis after the other, each a small matrix.

A target grid has the axes of its source, so that smoothing and linear sampling are separable: along each
axis, every target voxel is a weighted mean of a few source voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from oahier.images import Grid

_TRUNCATE = 3.0
"""Standard deviations at which the smoothing kernel ends."""

Box = tuple[slice, ...]
"""The voxels of the target grid that the scan covers."""


def target_grid(source: Grid, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    """The grid of ``shape`` and ``spacing`` with the axes and the centre of the source.

    >>> grid = target_grid(Grid((10, 10, 10), np.eye(4)), (4, 5, 10), (2.0, 2.0, 1.0))
    >>> grid.affine[:3, 3].tolist()
    [1.5, 0.5, 0.0]
    """
    affine = np.eye(4)
    affine[:3, :3] = source.affine[:3, :3] / source.spacing * np.asarray(spacing)
    centre = source.affine[:3, :3] @ ((np.array(source.shape) - 1) / 2) + source.affine[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(tuple(shape), affine)


def _axis_position(source: Grid, target: Grid, axis: int) -> tuple[float, float]:
    """Source index of the first target voxel along an axis, and the step between two."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    # grids share their axes: off-diagonal terms are rounding, the offset along the axis is what counts
    return float(to_source[axis, 3]), float(to_source[axis, axis])


def _covered_range(size: int, count: int, first: float, step: float) -> slice:
    """The target voxels whose centres lie inside the scan (half a voxel beyond its outer centres).

    >>> _covered_range(4, 6, -1.0, 1.0)
    slice(1, 5, None)
    """
    positions = first + step * np.arange(count)
    inside = np.flatnonzero((positions >= -0.5 - 1e-6) & (positions <= size - 0.5 + 1e-6))
    if len(inside) == 0:
        return slice(0, 0)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _sampling_matrix(
    size: int, count: int, first: float, step: float
) -> tuple[Float32[np.ndarray, "covered size"], slice]:
    """Weights of the source voxels for every target voxel that the scan covers.

    Where voxels grow by the factor ``step``, the source is smoothed by a Gaussian of variance
    ``(step^2 - 1) / (8 ln 2)`` voxels (Cardoso et al. 2015, doi:10.1007/978-3-319-24571-3_81), cut off at
    three standard deviations, the outermost voxels repeated beyond the edge; then it is sampled linearly.

    Returns:
        the matrix, whose rows sum to 1, and the covered range of the target.

    >>> matrix, covered = _sampling_matrix(4, 2, 0.5, 2.0)
    >>> (100 * matrix).round().astype(int).tolist(), covered
    ([[50, 38, 11, 1], [1, 11, 38, 50]], slice(0, 2, None))
    """
    covered = _covered_range(size, count, first, step)
    positions = np.clip((first + step * np.arange(count))[covered], 0, size - 1)
    below = np.minimum(np.floor(positions).astype(np.int64), max(size - 2, 0))
    share = positions - below
    smoothing = _smoothing_matrix(size, step)
    above = np.minimum(below + 1, size - 1)
    matrix = smoothing[below] * (1 - share)[:, None] + smoothing[above] * share[:, None]
    return matrix.astype(np.float32), covered


def _nearest_indices(
    size: int, count: int, first: float, step: float
) -> tuple[Int64[np.ndarray, " covered"], slice]:
    """Index of the nearest source voxel for every target voxel that the scan covers.

    >>> _nearest_indices(4, 2, 0.4, 2.0)[0].tolist()
    [0, 2]
    """
    covered = _covered_range(size, count, first, step)
    positions = (first + step * np.arange(count))[covered]
    return np.clip(np.floor(positions + 0.5 + 1e-9), 0, size - 1).astype(np.int64), covered


def sampling_matrices(source: Grid, target: Grid) -> tuple[list[Float32[np.ndarray, "_ _"]], Box]:
    """The matrix of each axis for :func:`along_axes`, and the voxels of the target that they give."""
    matrices, box = [], []
    for axis in range(3):
        first, step = _axis_position(source, target, axis)
        matrix, covered = _sampling_matrix(source.shape[axis], target.shape[axis], first, step)
        matrices.append(matrix)
        box.append(covered)
    return matrices, tuple(box)


def along_axes(
    values: Shaped[np.ndarray, "i j k"],
    matrices: Sequence[Float32[np.ndarray, "_ _"]],
    middle: float,
    scale: float,
) -> Float32[np.ndarray, "a b c"]:
    """Apply a matrix to each axis of ``(values - middle) * scale``.

    The volume is taken as it lies in memory, slice by slice: a slice is made float and small in both of its
    axes while it is in the processor's cache, so that the volume is read once and never copied. Weights are
    sparse; voxels that no target voxel needs are left out.
    """
    from scipy.sparse import csr_matrix

    order = memory_order(values)
    values, matrices = values.transpose(order), [matrices[axis] for axis in order]
    weights, boxes = [], []
    for axis, matrix in enumerate(matrices):
        used = np.flatnonzero(matrix.any(axis=0))
        box = slice(int(used[0]), int(used[-1]) + 1)
        matrix = matrix[:, box]
        weights.append(csr_matrix(matrix[:, ::-1] if values.strides[axis] < 0 else matrix))
        boxes.append(box)
    values = forwards(values[tuple(boxes)])
    slow, second, fast = weights
    slices = np.empty((len(values), fast.shape[0], second.shape[0]), dtype=np.float32)
    for index, stored in enumerate(values):
        slices[index] = fast @ (second @ _single(stored, middle, scale)).T
    result: np.ndarray = (slow @ slices.reshape(len(slices), -1)).reshape(-1, *slices.shape[1:])
    return result.transpose(0, 2, 1).transpose(np.argsort(order))


def nearest(labels: np.ndarray, source: Grid, target: Grid) -> tuple[UInt8[np.ndarray, "i j k"], Box]:
    """The nearest label of every covered voxel, and where these lie."""
    indices, box = [], []
    for axis in range(3):
        position = _axis_position(source, target, axis)
        chosen, covered = _nearest_indices(source.shape[axis], target.shape[axis], *position)
        indices.append(chosen)
        box.append(covered)
    return _pick(labels, indices), tuple(box)


def _pick(labels: UInt8[np.ndarray, "i j k"], indices: Sequence[np.ndarray]) -> UInt8[np.ndarray, "a b c"]:
    """The voxels at an index range along every axis, read in the order of the memory."""
    order = memory_order(labels)
    picked = labels.transpose(order)
    for axis, source in enumerate(order):
        picked = picked.take(indices[source], axis=axis)
    return picked.transpose(np.argsort(order))


def forwards(values: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "i j k"]:
    """The same voxels, flipped where an axis runs backwards through memory."""
    return values[tuple(slice(None, None, -1 if step < 0 else 1) for step in values.strides)]


def memory_order(values: np.ndarray) -> list[int]:
    """The axes of a volume from slow to fast in memory."""
    return sorted(range(3), key=lambda axis: -abs(values.strides[axis]))


def _single(stored: np.ndarray, middle: float, scale: float) -> np.ndarray:
    if stored.dtype.kind in "iub" and stored.dtype.itemsize <= 2:  # exact, and three times as fast
        centred: np.ndarray = np.subtract(stored, np.float32(middle), dtype=np.float32)
        return centred * np.float32(scale)
    return ((stored.astype(np.float64) - middle) * scale).astype(np.float32)


def _smoothing_matrix(size: int, step: float) -> np.ndarray:
    """``(size, size)``: a Gaussian about every voxel, what lies beyond an edge added to the edge."""
    if step <= 1.01:
        return np.eye(size)
    deviation = float(np.sqrt((step**2 - 1) / (8 * np.log(2))))
    radius = int(_TRUNCATE * deviation + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / deviation) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for offset, weight in zip(offsets, kernel, strict=True):
        np.add.at(matrix, (rows, np.clip(rows + offset, 0, size - 1)), weight)
    return matrix
