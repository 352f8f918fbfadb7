"""One phantom knee: bones, cartilage, soft tissues and their image."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from oahier.phantom.anatomy import Anatomy, Scan, Side
from oahier.phantom.bones import CONDYLE, Axes, femur, fibula, patella, relief, tibia
from oahier.phantom.contrast import acquire, grain, paint
from oahier.phantom.disease import CAUSES, Disease
from oahier.phantom.shapes import Field, bump, true_distance
from oahier.phantom.shortcuts import Shortcut
from oahier.phantom.tissues import Joint, cartilage_layers, soft_tissues

FIELD_OF_VIEW = (112.0, 128.0, 128.0)
"""Millimetres right-left, anterior-posterior and superior-inferior that always hold the joint."""

SLAB_VOXELS = 100_000
"""About how many voxels are computed at a time."""

MINIMUM_SIZE = 4
"""Fewest voxels per axis."""


@dataclass(frozen=True)
class PhantomKnee:
    """A knee on its grid, axes right, anterior, superior."""

    mri: Float32[np.ndarray, "i j k"]
    label_map: UInt8[np.ndarray, "i j k"]
    """OAIZIB-CM ids: 1 femur, 2 femoral, 3 tibia, 4 medial, 5 lateral tibial cartilage."""
    affine: Float64[np.ndarray, "4 4"]
    severity: float
    side: Side
    anatomy: Anatomy
    scan: Scan
    causes: tuple[str, ...] = tuple(CAUSES)
    shortcut: Shortcut | None = None

    def signal_map(self, cause: str | None = None) -> Float32[np.ndarray, "i j k"]:
        """Where, and by how much, the image differs from that of the same knee at severity 0.

        Anatomy, pose, coil and the draws of the noise are the same in both images, so that a voxel is zero
        unless the disease, or the planted shortcut, changed it.

        Args:
            cause: what this one of :data:`~oahier.phantom.CAUSES` does alone, or ``"shortcut"`` for what the
                shortcut does; everything together when not given.

        Raises:
            ValueError: an unknown cause.

        >>> knee = phantom_knee(0.9, shape=(16, 24, 24), causes=["effusion"])
        >>> bool(knee.signal_map().any()), bool(knee.signal_map("cartilage").any())
        (True, False)
        """
        changed = self
        if cause == "shortcut":
            changed = self.twin(0.0, shortcut=self.shortcut)
        elif cause is not None:
            Disease.from_severity(self.severity).only([cause])
            changed = self.twin(self.severity, [name for name in self.causes if name == cause])
        signal: Field = changed.mri - self.healthy().mri
        return signal

    def healthy(self) -> PhantomKnee:
        """The same knee at severity 0, without a shortcut."""
        return self.twin(0.0)

    def twin(
        self, severity: float, causes: Collection[str] = (), shortcut: Shortcut | None = None
    ) -> PhantomKnee:
        """The same anatomy in the same scan with another disease."""
        i, j, k = self.mri.shape
        spacing = (float(self.affine[0, 0]), float(self.affine[1, 1]), float(self.affine[2, 2]))
        return phantom_knee(
            severity, shape=(i, j, k), spacing=spacing, side=self.side, anatomy=self.anatomy, scan=self.scan,
            causes=causes, shortcut=shortcut,
        )  # fmt: skip


def signal_region(signal: Float32[np.ndarray, "i j k"], share: float = 0.95) -> Bool[np.ndarray, "i j k"]:
    """The fewest voxels that hold a share of a signal map's absolute values; none for a map of zeros.

    >>> signal_region(np.float32([[[0.0, -9.0, 1.0]]]), 0.9).tolist()
    [[[False, True, False]]]
    """
    strength = np.abs(signal).ravel().astype(np.float64)
    order = np.argsort(-strength, kind="stable")
    held = strength[order].cumsum()
    count = int(np.searchsorted(held, share * held[-1] - 1e-9 * held[-1])) + 1 if held[-1] > 0 else 0
    region = np.zeros(strength.shape, dtype=bool)
    region[order[:count]] = True
    return region.reshape(signal.shape)


def default_spacing(shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Voxel size in mm with which a shape covers :data:`FIELD_OF_VIEW`.

    >>> default_spacing((64, 96, 96))
    (1.75, 1.3333, 1.3333)
    """
    i, j, k = (round(extent / size, 4) for extent, size in zip(FIELD_OF_VIEW, shape, strict=True))
    return i, j, k


def check_grid(shape: tuple[int, int, int], spacing: tuple[float, float, float] | None) -> None:
    """Refuse a grid on which no knee can be drawn.

    Raises:
        ValueError: not three axes, fewer than four voxels along one, or a spacing that is not positive.
    """
    if len(shape) != 3 or any(size < MINIMUM_SIZE for size in shape):
        raise ValueError(f"shape: expected three axes of {MINIMUM_SIZE} voxels or more, got {tuple(shape)}")
    if spacing is not None and (len(spacing) != 3 or not all(0 < step < np.inf for step in spacing)):
        raise ValueError(f"spacing: expected three positive voxel sizes in mm, got {tuple(spacing)}")


def phantom_knee(
    severity: float,
    *,
    shape: tuple[int, int, int] = (64, 96, 96),
    spacing: tuple[float, float, float] | None = None,
    side: Side = "right",
    anatomy: Anatomy | None = None,
    scan: Scan | None = None,
    causes: Collection[str] = tuple(CAUSES),
    shortcut: Shortcut | None = None,
) -> PhantomKnee:
    """Make one knee.

    The knee is modelled as a right one; a left knee is its mirror image. Bones are implicit surfaces whose
    distances are exact to first order, tissues are mixed by the share of each voxel that they fill, then
    follow the coil's bias field and Rician noise.

    Args:
        severity: 0 (healthy) to 1; see :class:`~oahier.phantom.disease.Disease`.
        shape: voxels along right, anterior and superior.
        spacing: voxel size in mm; by default the shape covers 112 x 128 x 128 mm.
        side: ``"right"`` or ``"left"``.
        anatomy: shape of the healthy knee; the mean knee when not given.
        scan: pose, coil and noise; an upright knee when not given.
        causes: signs of disease that it has, some of :data:`~oahier.phantom.CAUSES`.
        shortcut: mark of the acquisition to plant (:mod:`oahier.phantom.shortcuts`).

    Raises:
        ValueError: an argument out of its range.

    >>> knee = phantom_knee(0.5, shape=(16, 24, 24))
    >>> knee.mri.shape, sorted(set(knee.label_map.ravel().tolist()))
    ((16, 24, 24), [0, 1, 2, 3, 4, 5])
    """
    check_grid(shape, spacing)
    if not 0 <= severity <= 1:
        raise ValueError(f"severity: expected a number from 0 (healthy) to 1, got {severity}")
    if side not in ("left", "right"):
        raise ValueError(f"side: expected 'left' or 'right', got {side!r}")
    anatomy, scan = anatomy or Anatomy(), scan or Scan()
    steps = spacing or default_spacing(shape)
    disease = Disease.from_severity(severity, anatomy.lateral_share).only(causes)
    signal, label_map = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    texture = grain(shape, steps, scan.seed)
    for wide, inner, kept in _slabs(shape):
        axes = _axes(shape, steps, anatomy, scan, wide)
        joint = _joint(axes, anatomy, disease, steps)
        tissues = soft_tissues(axes, joint, anatomy, disease, scan.resting_fluid)
        signal[kept] = paint(axes, joint, tissues, anatomy, disease, float(np.mean(steps)), texture[wide])[
            inner
        ]
        label_map[kept] = joint.label_map()[inner]
    mri = acquire(signal, scan)
    if side == "left":
        mri, label_map = np.ascontiguousarray(mri[::-1]), np.ascontiguousarray(label_map[::-1])
    if shortcut is not None:
        mri = shortcut(mri, scan)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = [-(size - 1) / 2 * step for size, step in zip(shape, steps, strict=True)]
    present = tuple(cause for cause in CAUSES if cause in causes)
    return PhantomKnee(mri, label_map, affine, float(severity), side, anatomy, scan, present, shortcut)


def _slabs(shape: tuple[int, int, int]) -> Iterator[tuple[slice, slice, slice]]:
    """Slices along the first axis that fit the processor's cache, a neighbour on each side for gradients.

    Yields:
        the slices to compute, which of those to keep, and where these belong.
    """
    thickness = max(4, SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        stop = min(start + thickness, shape[0])
        low, high = max(start - 1, 0), min(stop + 1, shape[0])
        yield slice(low, high), slice(start - low, stop - low), slice(start, stop)


def _axes(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    anatomy: Anatomy,
    scan: Scan,
    wide: slice,
) -> Axes:
    """Voxel centres in the axes of the mean right knee; medial is towards the left, as world x falls."""
    grids = [
        (np.arange(size, dtype=np.float64) - (size - 1) / 2) * step
        for size, step in zip(shape, spacing, strict=True)
    ]
    offset = [t + c for t, c in zip(scan.translation, (0.0, 7.0, 5.0), strict=True)]
    matrix = scan.rotation_matrix() / (anatomy.scale * np.array([[anatomy.width], [1.0], [1.0]]))
    world = [-grids[0][wide], grids[1], grids[2]]
    world = [grid + move for grid, move in zip(world, offset, strict=True)]
    x, y, z = np.meshgrid(*world, indexing="ij", sparse=True)
    m, a, s = (
        (row[0] * x).astype(np.float32) + (row[1] * y).astype(np.float32) + (row[2] * z).astype(np.float32)
        for row in matrix
    )
    return Axes(m, a, s)


def _joint(axes: Axes, anatomy: Anatomy, disease: Disease, spacing: tuple[float, float, float]) -> Joint:
    """Both bones with their cartilage, as close to each other as the cartilage that is left allows."""
    waves = relief(axes, anatomy.relief_seed)
    rough = np.float32(0.9) * waves
    healthy = anatomy.femoral_cartilage + anatomy.tibial_cartilage + anatomy.fluid
    cartilage = anatomy.femoral_cartilage + anatomy.tibial_cartilage
    medial_gap = cartilage * (1 - disease.medial_narrowing) + anatomy.fluid
    lateral_gap = cartilage * (1 - disease.lateral_narrowing) + anatomy.fluid
    lean = np.clip(axes.m * np.float32(1 / CONDYLE), -1.5, 1.5)
    fall = healthy - 0.5 * (medial_gap + lateral_gap) - 0.5 * (medial_gap - lateral_gap) * lean
    lowered = axes.shifted(fall)

    scale = np.float32(anatomy.scale)
    femur_field, notch_field = femur(lowered, anatomy, disease, rough)
    tibia_field, height = tibia(axes, anatomy, disease, rough, healthy)
    to_femur, femur_extent = true_distance(femur_field * scale, spacing)
    to_tibia, tibia_extent = true_distance(tibia_field * scale, spacing)
    lesion = bump(axes.m, CONDYLE, 9.0) * bump(axes.a, -3.0 + anatomy.lesion_offset, 12.0)
    return Joint(
        to_femur=to_femur,
        to_tibia=to_tibia,
        extents=(femur_extent, tibia_extent),
        to_patella=patella(lowered, anatomy, disease) * scale,
        to_fibula=fibula(axes) * scale,
        relief=waves,
        **cartilage_layers(axes, lowered, notch_field, height, _remaining(axes, lesion, disease), anatomy),
    )


def _remaining(axes: Axes, lesion: Field, disease: Disease) -> Field:
    """Share of the healthy cartilage thickness that disease leaves, everywhere."""
    weight = np.float32(1) / (1 + np.exp(-axes.m * np.float32(0.3)))
    loss = np.float32(disease.lateral_loss) + np.float32(disease.medial_loss - disease.lateral_loss) * weight
    return np.clip(1 - loss - np.float32(disease.focal_loss * 0.6) * lesion, 0, 1)
