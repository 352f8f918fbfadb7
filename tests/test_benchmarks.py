"""Every benchmark runs at a tiny size and gives finite ratios."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.harness import Comparison, alternate


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_benchmark_runs(name: str, tmp_path: Path) -> None:
    results = main(["--quick", "--only", name, "--out", str(tmp_path / "out.json")])
    assert results
    assert all(math.isfinite(result.ratio) and result.ratio > 0 for result in results)
    assert len(json.loads((tmp_path / "out.json").read_text())) == len(results)


def test_rounds_alternate_after_a_warm_up() -> None:
    calls: list[str] = []

    def side(name: str, value: float) -> float:
        calls.append(name)
        return value

    ratios, times = alternate(lambda: side("a", 2.0), lambda: side("b", 4.0), rounds=2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert ratios == (0.5, 0.5)
    assert times == (2.0, 4.0)


def test_goal_is_a_bound_in_the_right_direction() -> None:
    assert Comparison("a", "b", (1.0, 9.0, 1.02), goal=1.05).met
    assert not Comparison("a", "b", (90.0,), goal=100, larger_is_better=True).met
    assert Comparison("a", "b", (1.0,)).met is None
