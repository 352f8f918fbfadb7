"""Cartilage, menisci, ligaments, fluid, fat pad, muscle and skin around the bones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from oahier.phantom.anatomy import Anatomy
from oahier.phantom.bones import CONDYLE, Axes
from oahier.phantom.disease import Disease
from oahier.phantom.shapes import Field, capsule, intersection, length, rounded_intersection, union


@dataclass(frozen=True)
class Joint:
    """Distances (mm) to the bones and thickness (mm) of the cartilage on them."""

    to_femur: Field
    to_tibia: Field
    extents: tuple[Field, Field]
    """Extent of a voxel along the normals of femur and tibia."""
    to_patella: Field
    to_fibula: Field
    femoral_cartilage: Field
    medial_cartilage: Field
    lateral_cartilage: Field
    relief: Field
    """Smooth random field of unit variance; makes thicknesses uneven."""
    rims: tuple[Field, Field]
    """Elliptic radius around the medial and lateral tibial cartilage; 1 on its rim."""

    @property
    def tibial_cartilage(self) -> Field:
        """Thickness on either plateau."""
        return intersection(self.medial_cartilage, self.lateral_cartilage)

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
    synovium: Field
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
        synovium=_synovium(axes, joint),
        tendon=_tendons(axes, anatomy),
        ligament=_ligaments(axes),
        fluid=_fluid(axes, joint, resting_fluid + disease.effusion, joint.relief),
        meniscus=_menisci(axes, joint, disease),
        fat_pad=_fat_pad(axes),
    )


def cartilage_layers(
    axes: Axes, lowered: Axes, to_notch: Field, above_plateau: Field, remaining: Field, anatomy: Anatomy
) -> dict[str, Any]:
    """Cartilage on the bones: its thicknesses and rims, by the names of the fields of :class:`Joint`."""
    rims = (
        length((axes.m - np.float32(CONDYLE)) * np.float32(1 / 13.5), (axes.a + 3) * np.float32(1 / 21)),
        length((axes.m + np.float32(CONDYLE)) * np.float32(1 / 14), (axes.a + 4) * np.float32(1 / 18.5)),
    )
    on_top = np.clip(1 + (above_plateau + 3) * np.float32(0.5), 0, 1)
    tibial = np.float32(anatomy.tibial_cartilage) * remaining * on_top
    medial, lateral = (tibial * _taper((1 - rim) * np.float32(14)) for rim in rims)
    femoral = np.float32(anatomy.femoral_cartilage) * remaining * _femoral_region(lowered, to_notch)
    return {
        "femoral_cartilage": femoral,
        "medial_cartilage": np.where(axes.m > 0, medial, np.float32(0)),
        "lateral_cartilage": np.where(axes.m > 0, np.float32(0), lateral * np.float32(1.1)),
        "rims": rims,
    }


def _taper(depth: Field) -> Field:
    """Thickness relative to the middle at a distance (mm) inside the border of a cartilage."""
    return np.sqrt(np.clip(depth * np.float32(0.3), 0, 1))


def _femoral_region(axes: Axes, to_notch: Field) -> Field:
    """1 on the articular surface of the femur, falling to 0 at its border."""
    wide = 36.0 - 0.22 * np.maximum(axes.a - 5, 0)
    top = np.where(axes.a > 0, np.float32(48), np.float32(36)) - axes.s
    shape = union(wide - np.abs(axes.m), top, to_notch - np.float32(1))
    sides = np.abs(np.abs(axes.m) - np.float32(CONDYLE)) - 12
    inner = intersection(sides, axes.s - 15)
    return _taper(np.minimum(shape, np.where(axes.a > 12, np.float32(9), 6 - inner)))


def _skin(axes: Axes, anatomy: Anatomy) -> Field:
    """Outline of the leg: an oval, wider above, flatter in front and drawn in below the knee."""
    rise = np.clip(axes.s, -70, 70) * np.float32(1 / 70)
    size = np.float32(anatomy.leg_radius) * (1 + np.float32(0.06) * np.abs(rise))
    half_m = (54.0 + 4.0 * rise) * size
    front = (63.0 - 29.0 * np.clip((22 - axes.s) * np.float32(1 / 65), 0, 1)) * size
    back = (56.0 + 3.0 * np.abs(rise)) * size
    half_a = np.where(axes.a > 0, front, back)
    return (length(axes.m / half_m, axes.a / half_a) - 1) * np.float32(50)


def _muscles(axes: Axes, bulk: float) -> Field:
    """Gastrocnemius, hamstrings, the vasti and the lower leg, with fat in the seams between them."""
    point = (axes.m, axes.a, axes.s)
    bellies = (
        ((19, -33, 26), (20, -34, -80), 12, 24),  # gastrocnemius, medial and lateral head
        ((-19, -33, 26), (-19, -34, -80), 12, 23),
        ((36, -30, -10), (22, -30, 80), 9, 25),  # semimembranosus and biceps
        ((-38, -30, -10), (-23, -30, 80), 9, 24),
        ((3, -46, 30), (1, -44, 95), 7, 15),  # semitendinosus
        ((38, 8, 36), (28, 14, 95), 9, 27),  # vastus medialis and lateralis
        ((-40, 6, 46), (-27, 12, 95), 8, 27),
        ((-26, 6, -26), (-28, 0, -90), 6, 17),  # tibialis anterior, popliteus and soleus
        ((2, -22, -26), (-4, -22, -90), 9, 18),
    )
    nearest = second = np.full(axes.s.shape, 1e3, np.float32)
    for start, end, radius, end_radius in bellies:
        distance = capsule(point, start, end, radius * bulk, end_radius * bulk)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return intersection(nearest, nearest - second + np.float32(1.5))


def _tendons(axes: Axes, anatomy: Anatomy) -> Field:
    """Quadriceps tendon above the patella and patellar ligament below it, wide and flat."""
    point = (axes.m * np.float32(0.3), axes.a, axes.s)
    tip = 14.0 + anatomy.patella_height
    a = 47.5 * anatomy.depth
    upper = capsule(point, (-0.6, a + 2, tip + 36), (0, 38, 100), 3.4)
    lower = capsule(point, (-0.6, a + 1, tip + 4), (-1.2, 26, -32), 2.4)
    return union(upper, lower)


def _ligaments(axes: Axes) -> Field:
    """Cruciate and collateral ligaments."""
    point = (axes.m, axes.a, axes.s)
    anterior = capsule(point, (-6, -14, 17), (2, 9, -1), 3.2)
    posterior = capsule(point, (5, -2, 12), (-1, -26, 2), 3.8)
    flat = (axes.m, axes.a * np.float32(0.4), axes.s)
    medial = capsule(flat, (42, 0, 26), (39, 0, -30), 1.6)
    lateral = capsule(point, (-42, -3, 24), (-36, -22, -18), 2.2)
    return union(anterior, posterior, medial, lateral)


def _fluid(axes: Axes, joint: Joint, thickness: float, rough: Field) -> Field:
    """Fluid in the recess above the patella and in the gutters beside the femur."""
    recess = rounded_intersection(np.abs(axes.s - 46) - np.float32(20), np.float32(13) - axes.a, 8.0)
    gutters = rounded_intersection(
        np.abs(axes.s - 24) - np.float32(15), np.abs(axes.a - 8) - np.float32(16), 8.0
    )
    room = np.minimum(recess, np.maximum(gutters, 28 - np.abs(axes.m)))
    uneven = (
        np.float32(thickness) * np.clip(0.7 + 0.5 * rough, 0, 1.5) * np.clip(room * np.float32(-1 / 8), 0, 1)
    )
    shell: Field = joint.to_femur - joint.femoral_cartilage - uneven + np.float32(0.4)
    return shell


def _synovium(axes: Axes, joint: Joint) -> Field:
    """Capsule and synovium: an uneven sleeve around the ends of the bones."""
    rise = (axes.s - 4) * np.float32(1 / 28)
    sleeve = (4 + 2 * joint.relief) * np.maximum(1 - rise * rise, 0) - np.float32(0.5)
    around: Field = union(joint.to_femur, joint.to_tibia) - sleeve
    return around


def _menisci(axes: Axes, joint: Joint, disease: Disease) -> Field:
    """Crescents that fill the wedge between the bones around the contact areas."""
    below_femur = -joint.to_femur + joint.femoral_cartilage + np.float32(0.3)
    above_tibia = -joint.to_tibia + joint.tibial_cartilage + np.float32(0.3)
    between = intersection(below_femur, joint.to_femur - 7, above_tibia, joint.to_tibia - 7)
    out = disease.extrusion / 13.5
    rings = [
        np.maximum(np.float32(0.62 + shift) - rim, rim - np.float32(1.12 + shift)) * np.float32(14)
        for rim, shift in zip(joint.rims, (out, 0.3 * out), strict=True)
    ]
    ring = intersection(union(*rings), 9 - np.abs(axes.m))
    return intersection(between, ring, axes.s - 9)


def _fat_pad(axes: Axes) -> Field:
    """Hoffa's fat pad behind the patellar ligament."""
    point = (axes.m * np.float32(0.6), axes.a, axes.s)
    return capsule(point, (0, 36, 8), (0, 27, -10), 11.0, 7.0)
