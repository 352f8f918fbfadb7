from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier.hierarchy import (
    DEFAULT_HIERARCHY,
    OA_FROM_GRADE,
    Hierarchy,
    contradicts,
    oa_from_kl,
    oa_probability_from_kl,
)
from oahier.metrics.coherence import LevelRows, agreement, probability_gap
from oahier.types import KL_GRADES, MISSING

labels = st.lists(st.integers(-1, 4), min_size=1, max_size=30)
rows = st.lists(st.lists(st.floats(-8, 8), min_size=5, max_size=5), min_size=1, max_size=10)


def _probabilities(logits: list[list[float]]) -> torch.Tensor:
    return torch.softmax(torch.tensor(logits, dtype=torch.float64), dim=1)


def test_threshold_is_that_of_kellgren_and_lawrence() -> None:
    assert oa_from_kl(torch.arange(5)).tolist() == [0, 0, 1, 1, 1]
    assert OA_FROM_GRADE == 2
    assert KL_GRADES == 5


@given(labels)
def test_labels_follow_grades_one_by_one(grades: list[int]) -> None:
    expected = [MISSING if grade == MISSING else int(grade >= 2) for grade in grades]
    for dtype in (torch.int64, torch.int32, torch.int8):
        oa = oa_from_kl(torch.tensor(grades, dtype=dtype))
        assert oa.tolist() == expected
        assert oa.dtype == dtype


@given(labels)
def test_implied_labels_never_contradict(grades: list[int]) -> None:
    kl = torch.tensor(grades)
    oa = oa_from_kl(kl)
    assert not contradicts(oa, kl).any()
    assert contradicts(1 - oa, kl).tolist() == [grade != MISSING for grade in grades]
    assert not contradicts(torch.full_like(kl, MISSING), kl).any()


def test_labels_keep_their_shape() -> None:
    assert oa_from_kl(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3)


@given(rows)
def test_marginal_is_a_probability_and_complements(logits: list[list[float]]) -> None:
    probabilities = _probabilities(logits)
    marginal = oa_probability_from_kl(probabilities)
    np.testing.assert_allclose(marginal, 1 - probabilities[:, 0] - probabilities[:, 1], atol=1e-12)
    assert bool(((marginal >= 0) & (marginal <= 1 + 1e-12)).all())


@given(rows)
def test_consistent_levels_have_no_gap(logits: list[list[float]]) -> None:
    probabilities = _probabilities(logits)
    marginal, each = oa_probability_from_kl(probabilities), np.eye(len(logits))
    gap = probability_gap(each, LevelRows(marginal.numpy(), probabilities.numpy()))
    np.testing.assert_allclose(gap, 0, atol=1e-12)
    gap = probability_gap(each, LevelRows(1 - marginal.numpy(), probabilities.numpy()))
    np.testing.assert_allclose(gap, (1 - 2 * marginal).abs(), atol=1e-12)


@given(rows, st.floats(0, 1))
def test_agreement_is_that_of_two_decisions(logits: list[list[float]], oa: float) -> None:
    probabilities = _probabilities(logits)
    rows = LevelRows(np.full(len(logits), oa), probabilities.numpy())
    agree = agreement(np.eye(len(logits)), rows)
    expected = [(oa >= 0.5) == (int(np.argmax(row)) >= 2) for row in probabilities.numpy()]
    assert agree.tolist() == expected


# --- any hierarchy ---

THREE = Hierarchy("fine", {"middle": (0, 0, 1, 1, 2, 2), "coarse": (0, 0, 0, 0, 1, 1)})


def test_levels_from_fine_to_coarse() -> None:
    assert THREE.levels == ("fine", "middle", "coarse")
    assert [THREE.num_classes(level) for level in THREE.levels] == [6, 3, 2]
    assert [THREE.coarse_of(level) for level in (*THREE.levels, "oa")] == ["middle", "coarse", None, None]
    assert THREE.parents("middle", "coarse") == (0, 0, 1)
    assert THREE.threshold("fine", "coarse") == 4
    assert THREE.threshold("fine", "middle") is None
    assert Hierarchy("a", {"b": (0, 1, 0)}).threshold("a", "b") is None
    assert DEFAULT_HIERARCHY.is_level("oa", 2)
    assert not DEFAULT_HIERARCHY.is_level("kl", 4)


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-8, 8), min_size=6, max_size=6), min_size=1, max_size=10))
def test_marginals_commute(logits: list[list[float]]) -> None:
    p = _probabilities(logits)
    middle = THREE.marginal(p, "fine", "middle")
    torch.testing.assert_close(
        THREE.marginal(middle, "middle", "coarse"), THREE.marginal(p, "fine", "coarse")
    )
    torch.testing.assert_close(middle.sum(dim=1), torch.ones(len(p), dtype=p.dtype))
    torch.testing.assert_close(THREE.log_marginal(p.log(), "fine", "middle"), middle.log())


@given(rows)
def test_marginal_is_the_sum_of_the_upper_grades(logits: list[list[float]]) -> None:
    p = _probabilities(logits).float()
    assert torch.equal(oa_probability_from_kl(p), p[:, 2:].sum(dim=1))


def test_coarse_labels_commute() -> None:
    fine = torch.tensor([-1, 0, 1, 2, 3, 4, 5])
    middle = THREE.coarsen(fine, "fine", "middle")
    assert middle.tolist() == [-1, 0, 0, 1, 1, 2, 2]
    assert torch.equal(THREE.coarsen(middle, "middle", "coarse"), THREE.coarsen(fine, "fine", "coarse"))


@pytest.mark.parametrize(
    ("coarser", "message"),
    [
        ({}, "expected a level coarser than 'kl'"),
        ({"kl": (0, 1)}, "expected a level coarser than 'kl'"),
        ({"oa": (0, 2)}, r"level 'oa': expected a class 0, 1, ... for each of the 2 classes .* got \(0, 2\)"),
        ({"oa": (0, 1), "x": (0, 0, 1)}, "level 'x': expected a class 0, 1, ... for each of the 2"),
        ({"oa": (0, 0, 1), "x": (0, 1)}, "level 'x': expected a class 0, 1, ... for each of the 3"),
        ({"a": (0, 0, 1, 1), "b": (1, 0, 1, 0)}, "'b' is not coarser than 'a': it splits class 0 of 'a'"),
        ({"a": (0, 0, 1, 1), "b": (0, 1, 1, 1)}, "'b' is not coarser than 'a': it splits class 0 of 'a'"),
    ],
)
def test_impossible_hierarchies(coarser: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hierarchy("kl", coarser)


def test_unknown_level_is_named() -> None:
    with pytest.raises(ValueError, match="expected one of the levels kl, oa, got 'moaks'"):
        DEFAULT_HIERARCHY.num_classes("moaks")
