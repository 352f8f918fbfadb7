"""Signal of the tissues in a water-excited DESS image, coil sensitivity and Rician noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from oahier.phantom.anatomy import Anatomy, Scan
from oahier.phantom.bones import CONDYLE, Axes
from oahier.phantom.disease import Disease
from oahier.phantom.shapes import Field, bump, coverage, intersection, length, union
from oahier.phantom.tissues import Joint, SoftTissues

SIGNAL = {
    "air": 0.0,
    "skin": 0.30,
    "fat": 0.11,
    "connective": 0.14,
    "muscle": 0.54,
    "synovium": 0.23,
    "vessel": 0.75,
    "tendon": 0.05,
    "ligament": 0.13,
    "meniscus": 0.20,
    "fluid": 1.0,
    "cartilage": 0.66,
    "plate": 0.03,
    "marrow": 0.10,
    "lesion": 0.42,
}
"""Signal relative to fluid. Fat and marrow are dark because only water is excited."""


GRAIN = (2.5, 2.5, 7.0)
"""Size in mm of the structure inside tissues; fibres run up and down."""


def paint(
    axes: Axes,
    joint: Joint,
    tissues: SoftTissues,
    anatomy: Anatomy,
    disease: Disease,
    voxel: float,
    texture: Field,
) -> Field:
    """Mix the tissues back to front, each by the share that it fills of a voxel ``voxel`` mm wide."""
    image: Field = np.zeros(axes.s.shape, np.float32)
    fat = SIGNAL["fat"] * (1 + np.float32(0.25) * texture)

    _over(image, SIGNAL["skin"], tissues.to_skin, voxel)
    _over(image, fat, tissues.to_skin + np.float32(2), voxel)
    inside = tissues.to_skin + np.float32(anatomy.fat_thickness)
    _over(image, SIGNAL["connective"] * (1 + np.float32(0.3) * texture), inside, voxel)
    fibres = SIGNAL["muscle"] * (1 + np.float32(0.08) * texture)
    _over(image, fibres, np.maximum(tissues.muscle, inside + 1), voxel)
    _over(image, SIGNAL["synovium"] * (1 + np.float32(0.2) * texture), tissues.synovium, voxel)
    _over(image, fat, tissues.fat_pad, voxel)
    for name in ("vessel", "tendon", "ligament", "fluid"):
        _over(image, SIGNAL[name], getattr(tissues, name), voxel)
    _over(image, SIGNAL["fluid"], _joint_space(joint), voxel)
    _over(image, SIGNAL["meniscus"], tissues.meniscus, voxel)
    _over(image, SIGNAL["cartilage"], _patellar_cartilage(axes, joint), voxel)
    _bones(image, axes, joint, disease, anatomy, voxel, texture)
    return image


def _over(image: Field, value: Field | float, distance: Field, extent: Field | float) -> None:
    """Put a tissue in front of the image, in place."""
    image += coverage(distance, extent) * (value - image)


def grain(shape: tuple[int, ...], spacing: tuple[float, float, float], seed: int) -> Field:
    """Structure of a few millimetres inside the tissues, mean 0."""
    generator = np.random.default_rng([seed, 1])
    coarse = [max(2, round(n * step / cell)) for n, step, cell in zip(shape, spacing, GRAIN, strict=True)]
    values = generator.standard_normal(coarse, dtype=np.float32)
    zoom = [size / small for size, small in zip(shape, coarse, strict=True)]
    texture: Field = ndimage.zoom(values, zoom, order=1, grid_mode=True, mode="nearest").astype(np.float32)
    return texture


def _joint_space(joint: Joint) -> Field:
    """The film of fluid between the surfaces, and what room menisci leave."""
    femoral = joint.to_femur - joint.femoral_cartilage - np.float32(1.2)
    tibial = joint.to_tibia - joint.tibial_cartilage - np.float32(1.2)
    return intersection(femoral, tibial, (union(*joint.rims) - 1) * np.float32(14))


def _patellar_cartilage(axes: Axes, joint: Joint) -> Field:
    """Layer on the back of the patella."""
    height = np.abs(axes.s - 33) - np.float32(15)
    return intersection(joint.to_patella - np.float32(2.4), axes.a - np.float32(41), height)


def _bones(
    image: Field, axes: Axes, joint: Joint, disease: Disease, anatomy: Anatomy, voxel: float, texture: Field
) -> None:
    """Cartilage, then the cortical shell, then the marrow of every bone, in place."""
    marrow = SIGNAL["marrow"] * (1 + np.float32(0.2) * texture)
    medial = bump(axes.m, CONDYLE, 14.0)
    plate = np.float32(0.9) + np.float32(disease.sclerosis) * medial * bump(axes.s, 0.0, 12.0)
    lesions = _lesions(axes, disease, anatomy)
    cartilage = SIGNAL["cartilage"]
    for distance, extent, thickness in (
        (joint.to_tibia, joint.extents[1], joint.tibial_cartilage),
        (joint.to_femur, joint.extents[0], joint.femoral_cartilage),
    ):
        covered = coverage(distance - thickness, extent) - coverage(distance, extent)
        image += (
            np.where(thickness > 0.05, covered, 0)
            * (np.float32(cartilage) - image)
            / np.maximum(1 - coverage(distance, extent), np.float32(1e-3))
        )
        _over(image, SIGNAL["plate"], distance, extent)
        _over(image, marrow + lesions, distance + plate, extent)
    for distance in (joint.to_patella, joint.to_fibula):
        _over(image, SIGNAL["plate"], distance, voxel)
        _over(image, marrow, distance + np.float32(1), voxel)


def _lesions(axes: Axes, disease: Disease, anatomy: Anatomy) -> Field:
    """Added signal of bone-marrow lesions under the medial contact area."""
    across = bump(axes.m, CONDYLE + 2, 9.0) * bump(axes.a, -3.0 + anatomy.lesion_offset, 11.0)
    depth = bump(axes.s, -9.0, 8.0) + np.float32(0.8) * bump(axes.s, 6.0, 7.0)
    added: Field = np.float32(disease.marrow_lesion * SIGNAL["lesion"]) * across * depth
    return added


def acquire(image: Float32[np.ndarray, "i j k"], scan: Scan) -> Float32[np.ndarray, "i j k"]:
    """Apply the coil's sensitivity, the receiver gain and Rician noise.

    Magnitude of a complex signal with Gaussian noise of equal spread in both channels (Gudbjartsson and
    Patz 1995, doi:10.1002/mrm.1910340618): ``sqrt((signal + n1)^2 + n2^2)``.
    """
    generator = np.random.default_rng([scan.seed, 2])
    signal = image * bias_field(image.shape, scan.bias, generator) if scan.bias else image
    if scan.noise:
        real, imaginary = generator.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(
            scan.noise
        )
        signal = length(signal + real, imaginary)
    return signal * np.float32(scan.gain)


def bias_field(
    shape: tuple[int, ...], spread: float, generator: np.random.Generator
) -> Float32[np.ndarray, "i j k"]:
    """Smooth positive sensitivity: the exponential of a random quadratic with mean 0 and the given spread.

    >>> field = bias_field((8, 8, 8), 0.2, np.random.default_rng(0))
    >>> round(float(np.log(field).std()), 3)
    0.2
    """
    lines = [np.linspace(-1, 1, size, dtype=np.float32) for size in shape]
    x, y, z = np.meshgrid(*lines, indexing="ij", sparse=True)
    weights = generator.normal(size=9).astype(np.float32)
    weights[3:6] += np.float32(0.8)  # a coil around the knee is more sensitive near its elements
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
    total = np.zeros(shape, np.float32)
    for weight, term in zip(weights, terms, strict=True):
        total = total + weight * term
    total -= total.mean()
    field: Field = np.exp(total * np.float32(spread / max(float(total.std()), 1e-6)))
    return field
