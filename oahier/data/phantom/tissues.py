"""Cartilage, menisci, ligaments, fluid, fat pad, muscle and skin around the bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from oahier.data.phantom.anatomy import Anatomy
from oahier.data.phantom.bones import CONDYLE, Axes
from oahier.data.phantom.disease import Disease
from oahier.data.phantom.shapes import (
    Field,
    capsule,
    rounded_intersection,
    smooth_union,
)


@dataclass(frozen=True)
class Joint:
    """Distances (mm) to the bones and thickness (mm) of the cartilage on them."""

    to_femur: Field
    to_tibia: Field
    extents: tuple[Field, Field]
    """Extent of a voxel along the normals of femur and tibia."""
    to_patella: Field
    to_fibula: Field
    to_notch: Field
    femoral_cartilage: Field
    medial_cartilage: Field
    lateral_cartilage: Field
    rims: tuple[Field, Field]
    """Elliptic radius around the medial and lateral tibial cartilage; 1 on its rim."""

    @classmethod
    def build(
        cls,
        *,
        axes: Axes,
        lowered: Axes,
        to_femur: Field,
        to_tibia: Field,
        extents: tuple[Field, Field],
        to_notch: Field,
        above_plateau: Field,
        to_patella: Field,
        to_fibula: Field,
        remaining: Field,
        anatomy: Anatomy,
    ) -> Joint:
        """Put cartilage on the bones."""
        rims = (
            np.hypot(
                (axes.m - np.float32(CONDYLE)) * np.float32(1 / 13.5), (axes.a + 3) * np.float32(1 / 21)
            ),
            np.hypot(
                (axes.m + np.float32(CONDYLE)) * np.float32(1 / 14), (axes.a + 4) * np.float32(1 / 18.5)
            ),
        )
        on_top = np.clip(1 + (above_plateau + 3) * np.float32(0.5), 0, 1)
        tibial = np.float32(anatomy.tibial_cartilage) * remaining * on_top
        medial, lateral = (tibial * _taper((1 - rim) * np.float32(14)) for rim in rims)
        return cls(
            to_femur,
            to_tibia,
            extents,
            to_patella,
            to_fibula,
            to_notch,
            np.float32(anatomy.femoral_cartilage) * remaining * _femoral_region(lowered, to_notch),
            np.where(axes.m > 0, medial, np.float32(0)),
            np.where(axes.m > 0, np.float32(0), lateral * np.float32(1.1)),
            rims,
        )

    def label_map(self) -> UInt8[np.ndarray, "i j k"]:
        """OAIZIB-CM ids at the voxel centres."""
        labels = np.zeros(self.to_femur.shape, np.uint8)
        labels[(self.to_tibia <= self.lateral_cartilage) & (self.lateral_cartilage > 0.05)] = 5
        labels[(self.to_tibia <= self.medial_cartilage) & (self.medial_cartilage > 0.05)] = 4
        labels[(self.to_femur <= self.femoral_cartilage) & (self.femoral_cartilage > 0.05)] = 2
        labels[self.to_tibia <= 0] = 3
        labels[self.to_femur <= 0] = 1
        return labels


@dataclass(frozen=True)
class SoftTissues:
    """Distances (mm) to everything that is neither bone nor femoral or tibial cartilage."""

    to_skin: Field
    muscle: Field
    vessel: Field
    tendon: Field
    ligament: Field
    fluid: Field
    meniscus: Field
    fat_pad: Field


def soft_tissues(
    axes: Axes, joint: Joint, anatomy: Anatomy, disease: Disease, resting_fluid: float
) -> SoftTissues:
    """Everything around the joint."""
    return SoftTissues(
        to_skin=_skin(axes, anatomy),
        muscle=_muscles(axes, anatomy.muscle_bulk),
        vessel=capsule((axes.m, axes.a, axes.s), (-3, -36, -90), (2, -33, 90), 3.0),
        tendon=_tendons(axes, anatomy),
        ligament=_ligaments(axes),
        fluid=_fluid(axes, joint, resting_fluid + disease.effusion),
        meniscus=_menisci(axes, joint, disease),
        fat_pad=_fat_pad(axes),
    )


def _taper(depth: Field) -> Field:
    """Thickness relative to the middle at a distance (mm) inside the border of a cartilage."""
    return np.sqrt(np.clip(depth * np.float32(0.3), 0, 1))


def _femoral_region(axes: Axes, to_notch: Field) -> Field:
    """1 on the articular surface of the femur, falling to 0 at its border."""
    wide = 36.0 - 0.22 * np.maximum(axes.a - 5, 0)
    top = np.where(axes.a > 0, np.float32(48), np.float32(36)) - axes.s
    shape = np.minimum(np.minimum(wide - np.abs(axes.m), top), to_notch - np.float32(1))
    inner = np.maximum(
        np.abs(np.abs(axes.m) - np.float32(CONDYLE)) - 12, axes.s - 15
    )  # sides of the condyles
    return _taper(np.minimum(shape, np.where(axes.a > 12, np.float32(9), 6 - inner)))


def _skin(axes: Axes, anatomy: Anatomy) -> Field:
    """Outline of the leg: an oval, wider above, flatter in front and drawn in below the knee."""
    rise = np.clip(axes.s, -70, 70) * np.float32(1 / 70)
    size = np.float32(anatomy.leg_radius) * (1 + np.float32(0.06) * np.abs(rise))
    half_m = (53.0 + 5.0 * rise) * size
    front = (57.0 + 0.0 * rise) * size - 6 * np.maximum(-rise, 0)
    back = (55.0 + 4.0 * np.abs(rise)) * size
    half_a = np.where(axes.a > 0, front, back)
    return (np.hypot(axes.m / half_m, axes.a / half_a) - 1) * np.float32(50)


def _muscles(axes: Axes, bulk: float) -> Field:
    """Hamstrings, heads of the gastrocnemius, the vasti and the calf."""
    point = (axes.m, axes.a, axes.s)
    gastrocnemius = smooth_union(
        capsule(point, (17, -33, 22), (20, -38, -75), 9.5 * bulk, 20 * bulk),
        capsule(point, (-17, -33, 22), (-18, -38, -75), 9.5 * bulk, 20 * bulk),
        2.0,
    )
    hamstrings = np.minimum(
        capsule(point, (29, -40, 8), (23, -36, 95), 7.5 * bulk, 19 * bulk),
        capsule(point, (-31, -38, 6), (-22, -34, 95), 7.5 * bulk, 19 * bulk),
    )
    vasti = np.minimum(
        capsule(point, (33, 12, 44), (26, 22, 100), 8 * bulk, 20 * bulk),
        capsule(point, (-34, 10, 56), (-25, 20, 100), 7 * bulk, 18 * bulk),
    )
    front = capsule(point, (-16, 6, -50), (-24, -2, -100), 10 * bulk, 16 * bulk)
    deep = capsule(point, (0, -24, -34), (-4, -24, -100), 8 * bulk, 15 * bulk)
    return np.minimum(np.minimum(np.minimum(gastrocnemius, hamstrings), vasti), np.minimum(front, deep))


def _tendons(axes: Axes, anatomy: Anatomy) -> Field:
    """Quadriceps tendon above the patella and patellar ligament below it, wide and flat."""
    point = (axes.m * np.float32(0.3), axes.a, axes.s)
    tip = 14.0 + anatomy.patella_height
    a = 47.5 * anatomy.depth
    upper = capsule(point, (-0.6, a + 2, tip + 36), (0, 38, 100), 3.4)
    lower = capsule(point, (-0.6, a + 1, tip + 4), (-1.2, 26, -32), 2.4)
    return np.minimum(upper, lower)


def _ligaments(axes: Axes) -> Field:
    """Cruciate and collateral ligaments."""
    point = (axes.m, axes.a, axes.s)
    anterior = capsule(point, (-6, -14, 17), (2, 9, -1), 3.2)
    posterior = capsule(point, (5, -2, 12), (-1, -26, 2), 3.8)
    flat = (axes.m, axes.a * np.float32(0.4), axes.s)
    collateral = np.minimum(
        capsule(flat, (42, 0, 26), (39, 0, -30), 1.6), capsule(point, (-42, -3, 24), (-36, -22, -18), 2.2)
    )
    return np.minimum(np.minimum(anterior, posterior), collateral)


def _fluid(axes: Axes, joint: Joint, thickness: float) -> Field:
    """Fluid in the recess above the patella and in the gutters beside the femur."""
    shell = joint.to_femur - np.maximum(joint.femoral_cartilage, 0) - np.float32(thickness)
    recess = rounded_intersection(np.abs(axes.s - 44) - np.float32(20), np.float32(14) - axes.a, 6.0)
    gutters = rounded_intersection(
        np.abs(axes.s - 24) - np.float32(15), np.abs(axes.a - 8) - np.float32(16), 6.0
    )
    return rounded_intersection(shell, np.minimum(recess, gutters), np.float32(0.5).item())


def _menisci(axes: Axes, joint: Joint, disease: Disease) -> Field:
    """Crescents that fill the wedge between the bones around the contact areas."""
    between = np.maximum(-joint.to_femur + joint.femoral_cartilage + np.float32(0.3), joint.to_femur - 7)
    tibial = np.maximum(joint.medial_cartilage, joint.lateral_cartilage)
    between = np.maximum(between, np.maximum(-joint.to_tibia + tibial + np.float32(0.3), joint.to_tibia - 7))
    out = disease.extrusion / 13.5
    rings = [
        np.maximum(np.float32(0.62 + shift) - rim, rim - np.float32(1.12 + shift)) * np.float32(14)
        for rim, shift in zip(joint.rims, (out, 0.3 * out), strict=True)
    ]
    ring = np.maximum(np.minimum(rings[0], rings[1]), 9 - np.abs(axes.m))
    return np.maximum(np.maximum(between, ring), axes.s - 9)


def _fat_pad(axes: Axes) -> Field:
    """Hoffa's fat pad behind the patellar ligament."""
    point = (axes.m * np.float32(0.6), axes.a, axes.s)
    return capsule(point, (0, 36, 8), (0, 27, -10), 11.0, 7.0)
