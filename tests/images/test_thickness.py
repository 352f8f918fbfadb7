"""Thickness and volume of cartilage against shapes whose size is known."""

from __future__ import annotations

import numpy as np
import pytest

from oahier.images.thickness import cartilage_size

SPACINGS = [(0.7, 0.36, 0.36), (0.36, 0.36, 0.7), (0.5, 0.5, 0.5)]


def expected(thickness: float, long: float, wide: float) -> float:
    """Four times the mean distance to the surface in a box: its layers, integrated."""
    depth = (np.arange(20_000) + 0.5) / 20_000 * thickness / 2
    left = [np.clip(1 - 2 * depth / edge, 0, None) for edge in (thickness, long, wide)]
    return float(4 * np.prod(left, axis=0).mean() * thickness / 2)


def grid(spacing: tuple[float, ...], extent: float = 48.0) -> list[np.ndarray]:
    """Voxel centres in mm from the middle."""
    counts = [int(np.ceil(extent / step)) for step in spacing]
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(counts, spacing, strict=True)]
    return np.meshgrid(*axes, indexing="ij", sparse=True)


@pytest.mark.parametrize("layers", [2, 3, 4, 7])
def test_a_slab_along_the_grid_has_its_thickness(layers):
    mask = np.zeros((60, 70, 20), dtype=bool)
    mask[5:55, 5:65, 8 : 8 + layers] = True
    found = cartilage_size(mask, (0.5, 0.4, 0.7))
    assert found.volume == pytest.approx(50 * 60 * layers * 0.5 * 0.4 * 0.7)
    assert found.thickness == pytest.approx(expected(layers * 0.7, 25.0, 24.0), rel=0.04)


@pytest.mark.parametrize("degrees", [15, 45, 75])
@pytest.mark.parametrize("thickness", [1.5, 3.0])
def test_an_oblique_slab_has_its_thickness_with_anisotropic_voxels(degrees, thickness):
    x, y, z = grid((0.7, 0.36, 0.36))
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    mask = (abs(c * x + s * y - 0.05) < thickness / 2) & (abs(-s * x + c * y) < 12) & (abs(z) < 18)
    found = cartilage_size(mask, (0.7, 0.36, 0.36))
    assert found.volume == pytest.approx(thickness * 24 * 36, rel=0.02)
    assert found.thickness == pytest.approx(expected(thickness, 24, 36), rel=0.07)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_section_of_a_hollow_cylinder_has_its_thickness(spacing):
    x, y, z = grid(spacing)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    mask = (radius >= 20) & (radius < 22.4) & (abs(angle) < 1.1) & (abs(z) < 15)
    found = cartilage_size(mask, spacing)
    assert found.volume == pytest.approx(2.4 * 21.2 * 2.2 * 30, rel=0.03)
    assert found.thickness == pytest.approx(expected(2.4, 21.2 * 2.2, 30), rel=0.04)


def test_size_depends_neither_on_the_place_nor_on_the_border_of_the_volume():
    mask = np.zeros((40, 40, 8), dtype=bool)
    mask[:30, :30, :4] = True
    moved = np.zeros((60, 50, 30), dtype=bool)
    moved[20:50, 10:40, 11:15] = True
    assert cartilage_size(mask, (0.5, 0.5, 0.5)) == cartilage_size(moved, (0.5, 0.5, 0.5))


def test_twice_the_voxel_size_is_twice_the_thickness():
    mask = np.zeros((40, 40, 12), dtype=bool)
    mask[4:36, 4:36, 4:8] = True
    one, two = (cartilage_size(mask, (step, step, step)) for step in (0.5, 1.0))
    assert two.thickness == pytest.approx(2 * one.thickness, rel=0.03)
    assert two.volume == pytest.approx(8 * one.volume)


def test_a_lost_compartment_is_undefined_and_a_single_voxel_is_not():
    empty = cartilage_size(np.zeros((4, 4, 4), dtype=bool), (1.0, 1.0, 1.0))
    assert np.isnan([empty.thickness, empty.volume]).all()
    single = np.zeros((4, 4, 4), dtype=bool)
    single[2, 2, 2] = True
    found = cartilage_size(single, (1.0, 1.0, 1.0))
    assert found.volume == 1
    assert np.isfinite(found.thickness)
