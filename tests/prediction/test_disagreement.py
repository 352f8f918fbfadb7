"""Heads of any hierarchy that contradict each other."""

from __future__ import annotations

import pytest

from oahier.hierarchy import DEFAULT_HIERARCHY, Hierarchy
from oahier.prediction.disagreement import disagreements

STAGES = Hierarchy("kl", {"stage": (0, 1, 2, 2, 2), "oa": (0, 0, 1, 1, 1)})
GRADES = [0.1, 0.2, 0.3, 0.3, 0.1]


def test_three_levels_are_compared_in_pairs() -> None:
    agree = {"kl": (GRADES, 2), "stage": ([0.1, 0.2, 0.7], 2), "oa": ([0.4, 0.6], 1)}
    assert disagreements(STAGES, agree) == []
    found = disagreements(STAGES, {**agree, "stage": ([0.2, 0.5, 0.3], 1)})
    assert found == [
        "the heads disagree: P(stage = 1) = 0.50, but the classes of KL imply 0.20, and 0.70 for stage = 2",
        "the heads disagree: P(stage ≥ 2) = 0.30 but P(OA) = 0.60",
    ]


@pytest.mark.parametrize("oa", [([0.4, 0.6], 1), ([0.6, 0.4], 1)])
def test_a_threshold_of_its_own_decides(oa: tuple[list[float], int]) -> None:
    assert disagreements(DEFAULT_HIERARCHY, {"kl": (GRADES, 2), "oa": oa}) == []


def test_a_level_alone_contradicts_nothing() -> None:
    assert disagreements(STAGES, {"stage": ([0.2, 0.5, 0.3], 1)}) == []
    assert disagreements(STAGES, {}) == []
