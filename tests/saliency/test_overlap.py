"""Overlap measures against a naive reference, and the chance controls."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from oahier.saliency import (
    dilate,
    iou_bound,
    mask_footprint,
    mass_in_other_masks,
    resample,
    saliency_overlap,
)

TOP = (1, 5, 10, 40)


def reference_overlap(saliency, region, top_percent):
    """One knee, no ties except among zeros, by explicit sets of voxels."""
    values, inside = saliency.ravel(), set(np.flatnonzero(region.ravel()))
    order = [voxel for voxel in np.argsort(-values) if values[voxel] > 0]

    def top(count):
        return set(order[:count])

    matched = top(len(inside))
    found = {
        "iou": len(matched & inside) / len(matched | inside),
        "dice": 2 * len(matched & inside) / (len(matched) + len(inside)),
        "mass_in_cartilage": values[list(inside)].sum() / values.sum(),
        "pointing": float(order[0] in inside),
        "cartilage_share": len(inside) / values.size,
    }
    found["enrichment"] = found["mass_in_cartilage"] / found["cartilage_share"]
    for percent in top_percent:
        chosen = top(max(1, math.ceil(values.size * percent / 100)))
        found[f"iou_top_{percent}"] = len(chosen & inside) / len(chosen | inside)
        found[f"precision_top_{percent}"] = len(chosen & inside) / len(chosen)
    return found


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), zeros=st.floats(0, 0.99), share=st.floats(0.01, 0.9))
def test_matches_a_naive_reference(seed, zeros, share):
    numbers = np.random.default_rng(seed)
    shape = (3, 5, 7)
    saliency = np.stack([numbers.permutation(105).reshape(shape) + 1.0 for _ in range(2)])
    saliency *= numbers.random(saliency.shape) >= zeros
    saliency[:, 1, 2, 3] = 200
    region = numbers.random(saliency.shape) < share
    region[:, 0, 0, 0], region[:, 0, 0, 1] = True, False
    measures = saliency_overlap(torch.from_numpy(saliency), torch.from_numpy(region), top_percent=TOP)
    for knee in range(2):
        expected = reference_overlap(saliency[knee], region[knee], TOP)
        assert {name: value[knee].item() for name, value in measures.items()} == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), levels=st.integers(1, 4))
def test_ties_give_the_mean_over_random_orders(seed, levels):
    numbers = np.random.default_rng(seed)
    saliency = numbers.integers(1, levels + 1, (1, 2, 3, 4)).astype(float)
    region = numbers.random(saliency.shape) < 0.4
    region[0, 0, 0, :2] = True, False
    measures = saliency_overlap(torch.from_numpy(saliency), torch.from_numpy(region), top_percent=[25])
    drawn = [
        reference_overlap(saliency[0] + 1e-6 * numbers.random(saliency.shape[1:]), region[0], [25])
        for _ in range(600)
    ]
    for name in ("precision_top_25", "pointing", "dice"):
        mean, spread = np.mean([one[name] for one in drawn]), np.std([one[name] for one in drawn])
        assert measures[name].item() == pytest.approx(mean, abs=1e-5 + 5 * spread / 600**0.5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), exponent=st.integers(-20, 20))
def test_scale_and_order_of_voxels_do_not_matter(seed, exponent):
    numbers = np.random.default_rng(seed)
    saliency = torch.from_numpy(numbers.integers(0, 6, (1, 4, 4, 5)).astype(float))
    region = torch.from_numpy(numbers.random(saliency.shape) < 0.3)
    saliency[0, 0, 0, 0], region[0, 0, 0, :2] = 7, torch.tensor([True, False])
    measures = saliency_overlap(saliency, region)
    order = torch.from_numpy(numbers.permutation(80))
    moved = saliency_overlap(
        2.0**exponent * saliency.flatten()[order].view_as(saliency), region.flatten()[order].view_as(region)
    )
    for name, value in measures.items():
        torch.testing.assert_close(moved[name], value)


def test_rounding_does_not_decide_between_equal_voxels():
    """One active cell makes a symmetric blob; noise of rounding size must not pick a side of it."""
    coarse = torch.zeros(1, 4, 4, 4)
    coarse[0, 1, 2, 1] = 0.7
    volume = resample(coarse, (32, 32, 32))
    region = torch.zeros(1, 32, 32, 32, dtype=torch.bool)
    region[:, 8:14, 14:20, 6:12] = True
    expected = saliency_overlap(volume, region)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        noise = 1 + 2e-7 * (torch.rand(volume.shape, generator=generator) - 0.5)
        for name, value in saliency_overlap(volume * noise, region).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=0)


def test_undefined_rows_are_nan_and_leave_the_others_alone():
    saliency = torch.rand(5, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    region = torch.rand(5, 3, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.3
    alone = saliency_overlap(saliency[:1], region[:1])
    region[1], region[2] = False, True
    saliency[3], saliency[4, 0, 0, 0] = 0, math.nan
    measures = saliency_overlap(saliency, region)
    for name, value in measures.items():
        assert value[0] == alone[name][0]
        if name != "cartilage_share":
            assert value[1:].isnan().all()
    share = measures["cartilage_share"]
    assert share[1].isnan()
    assert share[2] == 1
    torch.testing.assert_close(share[3:], region[3:].double().mean(dim=(1, 2, 3)))


def test_chance_level_of_random_saliency_is_one():
    generator = torch.Generator().manual_seed(0)
    saliency = torch.rand(8, 16, 16, 16, generator=generator)
    region = torch.zeros(8, 16, 16, 16, dtype=torch.bool)
    region[:, 4:8, 4:12, 6:10] = True
    measures = saliency_overlap(saliency, region)
    assert measures["enrichment"].mean().item() == pytest.approx(1, abs=0.05)
    assert measures["precision_top_10"].mean().item() == pytest.approx(region.float().mean().item(), abs=0.02)


def test_perfect_saliency():
    region = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    region[:, 2:4, 1:7, 3:5] = True
    measures = saliency_overlap(region.float(), region)
    for name in ("iou", "dice", "mass_in_cartilage", "pointing", "precision_top_1"):
        assert measures[name].item() == 1
    assert measures["enrichment"].item() == pytest.approx(512 / 24)


def test_errors_name_the_argument(shapes_unchecked):
    with pytest.raises(ValueError, match="one shape, got"):
        saliency_overlap(torch.rand(1, 2, 2, 2), torch.ones(1, 2, 2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="top_percent: expected percentages in"):
        saliency_overlap(torch.rand(1, 2, 2, 2), torch.ones(1, 2, 2, 2, dtype=torch.bool), top_percent=[0])


def test_resampling_equals_interpolate_and_keeps_the_place_of_a_cell():
    coarse = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(coarse[:, None], size=(24, 20, 35), mode="trilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(resample(coarse, (24, 20, 35)), expected, atol=1e-6, rtol=1e-6)
    cell = torch.zeros(1, 12, 12, 12)
    cell[0, 1, 6, 10] = 1  # covers voxels 32-63, 192-223 and 320-351 of 384
    volume = resample(cell, (384, 384, 384))
    for axis, centre in zip((1, 2, 3), (47.5, 207.5, 335.5), strict=True):
        profile = volume.amax(dim=[other for other in (1, 2, 3) if other != axis])[0]
        peak = profile.topk(2).indices.sort().values
        assert peak.double().mean().item() == centre


def test_footprint_is_the_transpose_of_resampling():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 2, 3, 4, generator=generator)
    mask = torch.rand(2, 9, 12, 7, generator=generator) < 0.2
    inside = (resample(coarse, (9, 12, 7)) * mask).sum(dim=(1, 2, 3))
    footprint = mask_footprint(mask, (2, 3, 4))
    torch.testing.assert_close((coarse * footprint).sum(dim=(1, 2, 3)), inside)
    torch.testing.assert_close(footprint.sum(dim=(1, 2, 3)), mask.sum(dim=(1, 2, 3)).float())


def test_mass_in_other_masks_is_the_mean_over_all_other_knees():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 2, 3, 3, generator=generator)
    masks = torch.rand(4, 8, 9, 9, generator=generator) < torch.tensor([0.1, 0.2, 0.3, 0.0]).view(4, 1, 1, 1)
    share = masks.float().mean(dim=(1, 2, 3))
    coarse[2] = 0
    mass, enrichment = mass_in_other_masks(coarse, mask_footprint(masks, (2, 3, 3)), share, (8, 9, 9))
    volume = resample(coarse, (8, 9, 9))
    for knee in (0, 1, 3):
        others = [
            saliency_overlap(volume[knee][None], masks[other][None]) for other in range(3) if other != knee
        ]
        for result, name in ((mass, "mass_in_cartilage"), (enrichment, "enrichment")):
            expected = np.mean([one[name].item() for one in others])
            assert result[knee].item() == pytest.approx(expected, rel=1e-5)
    assert mass[2].isnan()
    assert enrichment[2].isnan()


def test_bound_falls_with_the_grid():
    region = torch.zeros(1, 32, 32, 32, dtype=torch.bool)
    region[:, 14:17, 6:26, 6:26] = True
    bounds = [iou_bound(region, (size, size, size)).item() for size in (32, 16, 8, 2)]
    assert bounds[0] == 1
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 0.3


def test_dilation_is_measured_in_millimetres():
    region = torch.zeros(2, 9, 9, 9, dtype=torch.bool)
    region[0, 4, 4, 4] = True
    grown = dilate(region, torch.tensor([[2.0, 1.0, 0.5], [1.0, 1.0, 1.0]]), 2.0)
    assert grown[0, :, 4, 4].sum() == 3
    assert grown[0, 4, :, 4].sum() == 5
    assert grown[0, 4, 4, :].sum() == 9
    assert not grown[0, 3, 3, 4]  # sqrt(4 + 1) millimetres away
    assert not grown[1].any()
    assert dilate(region, torch.ones(2, 3), 0.0) is region


def _smooth(seed=0, shape=(12, 14, 10)):
    generator = torch.Generator().manual_seed(seed)
    saliency = resample(torch.rand(2, 3, 4, 3, generator=generator), shape)
    return saliency, torch.rand(2, *shape, generator=generator) < 0.2


def test_one_voxel_that_is_a_million_times_larger_changes_no_rank():
    saliency, cartilage = _smooth()
    expected = saliency_overlap(saliency, cartilage)
    top = saliency.flatten(1).argmax(dim=1)
    saliency.view(2, -1)[torch.arange(2), top] = 1e6
    found = saliency_overlap(saliency, cartilage)
    for name in ("iou", "iou_top_5", "precision_top_1", "precision_top_10"):
        assert found[name].tolist() == expected[name].tolist(), name
    assert (found["precision_top_10"] > 0).all()


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 3.0, 1e30])
def test_metrics_do_not_depend_on_the_scale_of_a_map_however_small(scale):
    saliency, cartilage = _smooth(1)
    expected = saliency_overlap(saliency, cartilage)
    found = saliency_overlap((saliency.double() * scale), cartilage)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-6, msg=name)
    if scale > 1e-40:
        return
    found = saliency_overlap((saliency.double() * scale).float(), cartilage)  # a few hundred denormal levels
    assert (found["iou"] - expected["iou"]).abs().max() < 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_ranked_as_they_are(dtype):
    saliency, cartilage = _smooth(2)
    half = saliency.to(dtype)
    expected, found = saliency_overlap(half.double(), cartilage), saliency_overlap(half, cartilage)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, msg=name)
    assert (found["iou"] > 0).all()


def test_ranks_equal_those_of_a_sort():
    generator = torch.Generator().manual_seed(3)
    saliency = torch.rand(3, 20, 30, 10, generator=generator) ** 8
    cartilage = torch.rand(3, 20, 30, 10, generator=generator) < 0.1
    found = saliency_overlap(saliency, cartilage, top_percent=[0.5, 2, 33])
    for knee in range(3):
        order = saliency[knee].flatten().argsort(descending=True)
        inside = cartilage[knee].flatten()[order].double().cumsum(0)
        for percent in (0.5, 2, 33):
            count = int(np.ceil(6000 * percent / 100))
            assert found[f"precision_top_{percent:g}"][knee] == pytest.approx(
                inside[count - 1].item() / count, abs=1e-3
            )
