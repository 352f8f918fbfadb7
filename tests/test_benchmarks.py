"""Every benchmark runs at a tiny size and gives finite ratios."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from torch import nn

import oahier as oh

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.encoder_cost import counted
from benchmarks.harness import Comparison, Cost, cost, in_turn

QUICK = {"heads", "saliency", "statistics"}
"""Benchmarks that take a few seconds at a tiny size; the others load rivals, fit, or start processes."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(BENCHMARKS)],
)
def test_benchmark_runs(name: str, tmp_path: Path) -> None:
    results = main(["--quick", "--only", name, "--out", str(tmp_path / "out.json")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert len(written["comparisons"]) == len(results) > 0
    for result in results:
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in (*result.ratios, result.cpu_ratio))


def test_rounds_alternate_after_a_warm_up() -> None:
    calls: list[str] = []
    rounds = in_turn(lambda: calls.append("a"), lambda: calls.append("b"), rounds=2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert len(rounds) == 2


def test_cost_counts_processor_seconds() -> None:
    taken = cost(lambda: sum(range(300_000)))
    assert 0 < taken.cpu < 20 * taken.wall


def test_work_of_an_encoder_is_counted_from_shapes() -> None:
    encoder = oh.PlainEncoder(nn.Sequential(nn.Conv3d(1, 4, 3, padding=1, bias=False), nn.Sigmoid()))
    count = counted(encoder, (8, 8, 8))
    assert count.parameters == 4 * 27
    assert count.operations == 2 * count.parameters * 8**3
    assert count.kept == (1 + 4) * 8**3 * 4, "the volume and the map of the sigmoid, four bytes a voxel"
    assert count.training(3) == 16 * count.parameters + 3 * count.kept


def _comparison(*ratios: float, **arguments: object) -> Comparison:
    return Comparison("a", "b", tuple((Cost(r, 2 * r), Cost(1, 1)) for r in ratios), **arguments)


def test_median_of_rounds_counts_and_the_goal_is_a_bound_in_its_direction() -> None:
    noisy = _comparison(1.0, 9.0, 1.02, goal=1.05)
    assert noisy.ratio == 1.02
    assert noisy.met
    assert noisy.cpu_ratio == 2.04
    assert not _comparison(90.0, goal=100, larger_is_better=True).met
    assert _comparison(1.0).met is None


def test_pooled_rounds_count_by_their_sums() -> None:
    rounds = ((Cost(1.0), Cost(1.0)), (Cost(5.0), Cost(3.0)))
    assert Comparison("a", "b", rounds, pooled=True).ratio == 1.5


def test_markdown_has_a_row_each(tmp_path: Path) -> None:
    results = main(["--quick", "--only", "saliency", "--out", str(tmp_path / "out.md")])
    lines = (tmp_path / "out.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(results)


def test_unknown_file_ending_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--quick", "--out", str(tmp_path / "out.csv")])
    assert "expected a file that ends in .md or .json" in capsys.readouterr().err
