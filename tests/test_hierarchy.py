from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from oahier.hierarchy import (
    OA_FROM_GRADE,
    contradicts,
    decisions_agree,
    hierarchy_gap,
    oa_from_kl,
    oa_probability_from_kl,
)
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
    marginal = oa_probability_from_kl(probabilities)
    assert hierarchy_gap(marginal, probabilities).max() == 0
    np.testing.assert_allclose(
        hierarchy_gap(1 - marginal, probabilities), (1 - 2 * marginal).abs(), atol=1e-12
    )


@given(rows, st.floats(0, 1))
def test_agreement_is_that_of_two_decisions(logits: list[list[float]], oa: float) -> None:
    probabilities = _probabilities(logits)
    agree = decisions_agree(torch.full((len(logits),), oa, dtype=torch.float64), probabilities)
    expected = [(oa >= 0.5) == (int(np.argmax(row)) >= 2) for row in probabilities.numpy()]
    assert agree.tolist() == expected
