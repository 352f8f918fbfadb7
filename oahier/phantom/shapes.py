"""Signed distance fields in millimetres: negative inside, evaluated on arrays of coordinates.

Formulas for capsules, smooth unions and rounded intersections follow I. Quilez, "Distance functions"
(iquilezles.org/articles/distfunctions), rewritten for numpy.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

Field = Float32[np.ndarray, "..."]
"""A scalar field on the voxel grid (or broadcastable to it)."""

Number: TypeAlias = int | float
Point: TypeAlias = Sequence[Number]
"""Three lengths in mm."""


def length(x: Field, y: Field) -> Field:
    """``sqrt(x^2 + y^2)``; several times faster than ``numpy.hypot``, which guards against overflow."""
    total: Field = np.sqrt(x * x + y * y)
    return total


def union(*fields: Field) -> Field:
    """Union of several fields: their minimum."""
    joined: Field = functools.reduce(np.minimum, fields)
    return joined


def intersection(*fields: Field) -> Field:
    """Intersection of several fields: their maximum."""
    common: Field = functools.reduce(np.maximum, fields)
    return common


def smooth_union(a: Field, b: Field, radius: float) -> Field:
    """Union of two fields with a fillet of about ``radius``; the exact minimum far from the seam."""
    gap = np.maximum(radius - np.abs(a - b), 0)
    joined: Field = np.minimum(a, b) - gap * gap * np.float32(0.25 / radius)
    return joined


def smooth_intersection(a: Field, b: Field, radius: float) -> Field:
    """Intersection of two fields with a rounded edge."""
    gap = np.maximum(radius - np.abs(a - b), 0)
    common: Field = np.maximum(a, b) + gap * gap * np.float32(0.25 / radius)
    return common


def rounded_intersection(a: Field, b: Field, radius: float) -> Field:
    """Intersection whose edge is a quarter circle of ``radius``, so that distances stay distances.

    >>> corner = rounded_intersection(np.float32([-1]), np.float32([-1]), 4.0)
    >>> bool(corner[0] > -1)
    True
    """
    a, b = a + np.float32(radius), b + np.float32(radius)
    outside = length(np.maximum(a, 0), np.maximum(b, 0))
    common: Field = outside + np.minimum(np.maximum(a, b), 0) - np.float32(radius)
    return common


def capsule(
    point: Sequence[Field],
    start: Point,
    end: Point,
    radius: Number,
    end_radius: Number | None = None,
) -> Field:
    """Tube with round ends between two points; the radius may change linearly along it."""
    axis = [e - s for s, e in zip(start, end, strict=True)]
    square = sum(d * d for d in axis)
    offset = [p - np.float32(s) for p, s in zip(point, start, strict=True)]
    along = offset[0] * np.float32(axis[0] / square)
    along = along + offset[1] * np.float32(axis[1] / square) + offset[2] * np.float32(axis[2] / square)
    along = np.clip(along, 0, 1)
    squares = [(o - along * np.float32(d)) ** 2 for o, d in zip(offset, axis, strict=True)]
    distance = np.sqrt(squares[0] + squares[1] + squares[2])
    change = 0 if end_radius is None else end_radius - radius
    surface: Field = distance - np.float32(radius) - along * np.float32(change)
    return surface


def ellipsoid(point: Sequence[Field], centre: Point, radii: Point) -> Field:
    """Ellipsoid; the distance is exact on the surface and approximate elsewhere."""
    squares = [
        ((p - np.float32(c)) / np.float32(r)) ** 2 for p, c, r in zip(point, centre, radii, strict=True)
    ]
    surface: Field = (np.sqrt(squares[0] + squares[1] + squares[2]) - 1) * np.float32(min(radii))
    return surface


def disc_hull(y: Field, z: Field, first: Point, second: Point) -> Field:
    """Convex hull of two discs ``(y, z, radius)`` in a plane."""
    (y0, z0, r0), (y1, z1, r1) = first, second
    span = float(np.hypot(y1 - y0, z1 - z0))
    cos, sin = (y1 - y0) / span, (z1 - z0) / span
    y, z = y - np.float32(y0), z - np.float32(z0)
    along = y * np.float32(cos) + z * np.float32(sin)
    across = np.abs(z * np.float32(cos) - y * np.float32(sin))
    slope = (r0 - r1) / span
    rise = float(np.sqrt(max(1 - slope * slope, 1e-6)))
    side = along * np.float32(rise) - across * np.float32(slope)
    return np.where(
        side < 0,
        length(across, along) - np.float32(r0),
        np.where(
            side > rise * span,
            length(across, along - np.float32(span)) - np.float32(r1),
            across * np.float32(rise) + along * np.float32(slope) - np.float32(r0),
        ),
    )


def bump(value: Field, centre: float, width: float) -> Field:
    """Gaussian of height 1 around ``centre``."""
    height: Field = np.exp(-(((value - np.float32(centre)) / np.float32(width)) ** 2))
    return height


def ramp(value: float, start: float, end: float) -> float:
    """0 up to ``start``, 1 from ``end`` on, linear between.

    >>> [ramp(x, 0.5, 1.0) for x in (0.2, 0.75, 2.0)]
    [0.0, 0.5, 1.0]
    """
    return min(max((value - start) / (end - start), 0.0), 1.0)


def true_distance(field: Field, spacing: tuple[float, float, float]) -> tuple[Field, Field]:
    """Divide a field by the length of its gradient, and say how thick a voxel is along that gradient.

    Returns:
        the distance in millimetres to first order, and the extent of a voxel along the surface normal, the
        width over which a surface is blurred by partial volume.
    """
    gradients = [np.gradient(field, step, axis=axis) for axis, step in enumerate(spacing)]
    steepness = np.sqrt(gradients[0] ** 2 + gradients[1] ** 2 + gradients[2] ** 2)
    extent = sum(
        (np.abs(g) * np.float32(step) for g, step in zip(gradients, spacing, strict=True)), np.float32(0)
    )
    extent = extent / np.maximum(steepness, np.float32(1e-3))
    extent = np.clip(extent, np.float32(min(spacing)), np.float32(2 * max(spacing)))
    return field / np.clip(steepness, np.float32(0.6), np.float32(1.7)), extent.astype(np.float32)


def coverage(field: Field, extent: Field | float) -> Field:
    """Share of a voxel that lies inside a surface (partial volume).

    >>> coverage(np.float32([-2, -0.5, 0, 2]), 2.0).tolist()
    [1.0, 0.75, 0.5, 0.0]
    """
    share: Field = np.clip(np.float32(0.5) - field / extent, 0, 1)
    return share
