"""Femur, tibia, patella and fibula as signed distance fields in a right knee's own axes.

Axes: ``m`` towards medial, ``a`` towards anterior, ``s`` towards superior, in millimetres of the mean knee;
the origin lies midway between the distal condyles, on the level that they touch. The proportions were
taken from the mean knee of CartiMorph (103 knees without OA) and a labelled OAI knee.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oahier.phantom.anatomy import Anatomy
from oahier.phantom.disease import Disease
from oahier.phantom.shapes import (
    Field,
    bump,
    capsule,
    disc_hull,
    ellipsoid,
    intersection,
    length,
    rounded_intersection,
    smooth_intersection,
    smooth_union,
    union,
)  # fmt: skip

CONDYLE = 22.5
"""Distance of the condyles' mid-planes from the middle of the knee (mm)."""


@dataclass(frozen=True)
class Axes:
    """Coordinates of every voxel in the knee's axes."""

    m: Field
    a: Field
    s: Field

    def shifted(self, rise: Field) -> Axes:
        """The same voxels seen from a bone that was moved down by ``rise``."""
        return Axes(self.m, self.a, self.s + rise)


def relief(axes: Axes, seed: int) -> Field:
    """Smooth random field of about unit variance: a few plane waves longer than 22 mm."""
    waves, shortest = 5, 22.0
    generator = np.random.default_rng(seed)
    total: Field = np.zeros(1, np.float32)
    for _ in range(waves):
        direction = generator.normal(size=3)
        direction *= 2 * np.pi / generator.uniform(shortest, 2.5 * shortest) / np.linalg.norm(direction)
        k, phase = direction.astype(np.float32), np.float32(generator.uniform(0, 2 * np.pi))
        total = total + np.cos(axes.m * k[0] + axes.a * k[1] + axes.s * k[2] + phase)
    return total * np.float32((2 / waves) ** 0.5)


def condyle(axes: Axes, centre: float, half_width: float, radius: float, depth: float) -> Field:
    """One condyle: the hull of a posterior and a distal disc in the sagittal plane, rounded at its sides."""
    across = axes.m - np.float32(centre)
    back, front = 20.5 * radius, 27.0 * radius
    profile = disc_hull(axes.a, axes.s, (-13.0 * depth, back + 0.4, back), (0.5 * depth, front, front))
    profile = profile + across * across * np.float32(1 / 70)
    return rounded_intersection(profile, np.abs(across) - np.float32(half_width), 9.0)


def trochlea(axes: Axes, anatomy: Anatomy) -> Field:
    """Anterior block with the groove of the patella; its lateral ridge is the higher one."""
    groove = np.float32(anatomy.groove_depth)
    radius = 26.5 + 1.5 * bump(axes.m, -19.0, 12.0) - groove * bump(axes.m, -1.0, 11.0)
    profile = length(axes.a - np.float32(6.0 * anatomy.depth), axes.s - np.float32(30.0)) - radius
    half_width = 32.0 - np.float32(0.55) * np.maximum(axes.s - 30, 0)
    return rounded_intersection(profile, np.abs(axes.m + 1) - half_width, 10.0)


def notch(axes: Axes, anatomy: Anatomy) -> Field:
    """Room of the cruciate ligaments: an arch below and behind the intercondylar roof."""
    width = np.float32(anatomy.notch_width)
    arch = length(axes.m, np.maximum(axes.s - np.float32(16), 0) * np.float32(0.6)) - width
    roof = (28.0 * (axes.a - np.float32(9)) + 22.0 * (axes.s - np.float32(3))) / np.float32(35.6)
    return rounded_intersection(arch, roof, 5.0)


def femur(axes: Axes, anatomy: Anatomy, disease: Disease, rough: Field) -> tuple[Field, Field]:
    """Femur without cartilage, and its intercondylar notch."""
    radius, depth = anatomy.condyle_radius, anatomy.depth
    medial = condyle(axes, CONDYLE, 14.0, radius, depth)
    lateral = condyle(axes, -CONDYLE, 14.5, radius * 0.98, depth)
    bone = smooth_union(union(medial, lateral), trochlea(axes, anatomy), 5.0)

    flare = bump(axes.s, 24.0, 25.0)
    half_m, half_a = 14.5 + 23.5 * flare, 12.5 + 9.5 * flare
    centre_a = 11.0 - 9.0 * flare
    shaft = length(axes.m / half_m, (axes.a - centre_a) / half_a)
    shaft = (shaft - 1) * np.float32(0.75) * half_a
    bone = smooth_union(bone, rounded_intersection(shaft, np.float32(13) - axes.s, 8.0), 8.0)
    for sign, height in ((1, 27.0), (-1, 25.0)):
        bone = smooth_union(
            bone, ellipsoid((axes.m, axes.a, axes.s), (sign * 33.0, -3, height), (8, 14, 13)), 8.0
        )

    away = np.clip((np.abs(axes.s) - 7) * np.float32(1 / 14), 0, 1)
    bone = bone - rough * away
    gap = notch(axes, anatomy)
    bone = smooth_intersection(bone, -gap, 3.0)
    if disease.osteophyte:
        bone = _femoral_osteophytes(axes, bone, disease.osteophyte, rough, anatomy.lateral_share)
    return bone, gap


def _femoral_osteophytes(axes: Axes, bone: Field, height: float, rough: Field, lateral_share: float) -> Field:
    """Lips along the sides of the condyles, and spurs at their back, in the notch and on the trochlea."""
    uneven = np.clip(1 + 0.4 * rough, 0.5, 1.5)
    share = np.where(axes.m > 0, np.float32(1), np.float32(0.45 + lateral_share))
    beside = np.clip((np.abs(axes.m) - 30) * np.float32(0.2), 0, 1) * bump(axes.s, 7.0, 6.5)
    above = np.clip((axes.a - 22) * np.float32(0.15), 0, 1) * bump(axes.s, 45.0, 6.0) * np.float32(0.6)
    behind = np.clip((-26 - axes.a) * np.float32(0.2), 0, 1) * bump(axes.s, 32.0, 7.0) * np.float32(0.8)
    grown: Field = bone - np.float32(height) * uneven * share * intersection(beside, above, behind)
    return grown


def plateau(axes: Axes, anatomy: Anatomy, gap: float) -> Field:
    """Height of the tibial surface: a medial bowl, a flatter lateral field and the eminence between."""
    m, a = axes.m, axes.a + 3
    bowl = (m - np.float32(CONDYLE)) ** 2 * np.float32(1 / 190) + a * a * np.float32(1 / 240)
    field = (m + np.float32(CONDYLE)) ** 2 * np.float32(1 / 150) - a * a * np.float32(1 / 220)
    weight = np.float32(1) / (1 + np.exp(-m * np.float32(0.4)))
    height = weight * np.minimum(bowl, np.float32(4)) + (1 - weight) * np.clip(
        field, np.float32(-3), np.float32(3)
    )
    spines = np.maximum(bump(m, 5.0, 4.0), np.float32(0.85) * bump(m, -6.0, 4.0))
    height = height + np.float32(anatomy.eminence_height) * spines * bump(a, 1.0, 13.0)
    surface: Field = height + np.float32(anatomy.tibial_slope) * a - np.float32(gap)
    return surface


def tibia(axes: Axes, anatomy: Anatomy, disease: Disease, rough: Field, gap: float) -> tuple[Field, Field]:
    """Tibia without cartilage, and the height above its plateau."""
    height = axes.s - plateau(axes, anatomy, gap)
    flare = bump(np.minimum(axes.s, np.float32(-6)), -6.0, 26.0)
    half_m = 14.0 + 24.0 * flare
    half_a = (14.0 + 10.5 * flare) * np.float32(anatomy.depth)
    behind = axes.a + np.float32(5.5) - np.float32(2) * flare
    m, a = np.abs(axes.m) / half_m, np.abs(behind) / half_a
    wall = (
        (np.sqrt(length(m * m, a * a)) * np.float32(0.6) + length(m, a) * np.float32(0.4) - 1)
        * np.float32(0.85)
        * half_a
    )
    wall = wall + 7.0 * bump(axes.m, 0.0, 9.0) * np.clip(-behind * np.float32(0.05), 0, 1) * flare
    if disease.osteophyte:
        share = np.where(axes.m > 0, np.float32(1), np.float32(0.45 + anatomy.lateral_share))
        lip = bump(height, -4.0, 5.0) * np.clip(1 + 0.4 * rough, 0.5, 1.5) * share
        wall = wall - np.float32(disease.osteophyte) * lip
        peaks = bump(np.abs(axes.m), 5.5, 4.0) * bump(axes.a, -2.0, 8.0)
        height = height - np.float32(0.35 * disease.osteophyte) * peaks
    away = np.clip((-8 - axes.s) * np.float32(1 / 14), 0, 1)
    bone = smooth_intersection(wall - rough * away, height, 5.0)
    tuberosity = ellipsoid((axes.m, axes.a, axes.s), (-4, 16, -34), (9, 9, 16))
    return smooth_union(bone, tuberosity, 8.0), height


def patella(axes: Axes, anatomy: Anatomy, disease: Disease) -> Field:
    """Patella, its ridge facing the groove."""
    m = axes.m - np.float32(anatomy.patella_shift - 2)
    s = axes.s - np.float32(32 + anatomy.patella_height)
    a = axes.a - np.float32(anatomy.depth * 46.5)
    front = ellipsoid((m, a, s), (0, 0, 0), (22, 12, 21))
    facets = np.float32(-8.5) - a + np.abs(m) * np.float32(0.32)
    bone = rounded_intersection(front, facets, 3.0)
    if disease.osteophyte:
        bone = bone - np.float32(0.4 * disease.osteophyte) * bump(np.abs(s), 18.0, 6.0)
    return bone


def fibula(axes: Axes) -> Field:
    """Head and shaft of the fibula, behind the lateral tibia."""
    point = (axes.m, axes.a, axes.s)
    head = capsule(point, (-33, -22, -20), (-32, -22, -34), 8.0, 6.5)
    return smooth_union(head, capsule(point, (-32, -22, -34), (-29, -24, -110), 5.5), 4.0)
