"""Areas of a region over voxels, distance of the peak, exact ranks, and Quantus' localisation metrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from oahier.saliency import peak_distance, region_areas, saliency_overlap


def areas(values, region):
    found = region_areas(
        torch.as_tensor(values).flatten()[None], [torch.as_tensor(region).flatten().nonzero()[:, 0]]
    )
    return {name: value.item() for name, value in found.items()}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), levels=st.integers(2, 500), share=st.floats(0.02, 0.9))
def test_areas_equal_scikit_learn(seed, levels, share):
    numbers = np.random.default_rng(seed)
    values = numbers.integers(0, levels, 200) * numbers.choice([1.0, 1e-9, 1e9])
    region = numbers.random(200) < share
    region[:2] = True, False
    found = areas(values, region)
    assert found["auroc"] == pytest.approx(roc_auc_score(region, values))
    assert found["auprc"] == pytest.approx(average_precision_score(region, values))


def test_areas_that_are_undefined_are_nan():
    for values, region in (
        ([1.0, 2.0], [False, False]),
        ([1.0, 2.0], [True, True]),
        ([1.0, np.nan], [True, False]),
    ):
        assert np.isnan(list(areas(values, region).values())).all()
    assert areas([3.0, 3.0, 3.0, 3.0], [True, False, False, False]) == {"auroc": 0.5, "auprc": 0.25}


def test_localisation_metrics_of_quantus():
    """Numbers of Quantus 0.6.0: ``Metric(abs=False, normalise=False).evaluate_batch(a[None], s[None])``."""
    numbers = np.random.default_rng(0)
    saliency, region = numbers.random((4, 5, 6)), np.zeros((4, 5, 6), bool)
    region[1:3, 1:4, 2:5] = region[0, 0, 0] = True
    saliency += 0.4 * region
    found = saliency_overlap(
        torch.from_numpy(saliency)[None], torch.from_numpy(region)[None], top_percent=[10]
    )
    assert found["pointing"].item() == 1  # PointingGame
    assert found["mass_in_cartilage"].item() == pytest.approx(0.24791806, abs=1e-8)  # RelevanceMassAccuracy
    assert found["dice"].item() == pytest.approx(0.47368421, abs=1e-8)  # RelevanceRankAccuracy
    assert found["precision_top_10"].item() == pytest.approx(0.66666667, abs=1e-8)  # TopKIntersection(k=12)
    assert areas(saliency, region)["auroc"] == pytest.approx(0.83272538, abs=1e-8)  # AUC


def test_one_voxel_far_above_all_others_does_not_blur_their_ranks():
    numbers = np.random.default_rng(4)
    values, region = numbers.random((1, 20, 20, 20)), numbers.random((1, 20, 20, 20)) < 0.02
    values[0, 0, 0, 0], region[0, 0, 0, 0] = 1e6, False
    found = saliency_overlap(torch.from_numpy(values), torch.from_numpy(region), top_percent=[5])
    top = np.argsort(-values.ravel())[:400]
    assert found["precision_top_5"].item() == pytest.approx(region.ravel()[top].mean())
    assert found["precision_top_5"].item() > 0


def test_distance_of_the_peak_is_in_millimetres():
    saliency, region = torch.zeros(4, 5, 6, 7), torch.zeros(4, 5, 6, 7, dtype=torch.bool)
    saliency[:3, 4, 5, 6] = 1
    region[:2, 1, 1, 6] = region[1, 4, 5, 6] = region[3, 0, 0, 0] = True
    spacing = torch.tensor([[2.0, 0.5, 1.0]]).expand(4, 3)
    found = peak_distance(saliency, region, spacing)
    assert found[0].item() == pytest.approx(np.hypot(6, 2))
    assert found[1] == 0
    assert found[2:].isnan().all(), "no region; no saliency"
