"""``speed`` as a key of a study's configuration."""

from __future__ import annotations

import json

import pytest
from miniature.speeds import layout_wins

from oahier.speed.choice import Speed
from oahier.study import PlanError, prepare_study, read_plan, run_cell

ONE = {"supervision": ["dual"], "seed": [0]}


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Speed]:
    """Real steps whose times are made up: channels_last takes half of eager's; nothing is compiled."""
    return layout_wins(monkeypatch)


@pytest.mark.slow
def test_a_cell_tries_once_and_equals_one_that_names_the_choice(
    write_plan, base, tmp_path, tried: list[Speed]
) -> None:
    base["trainer"]["max_epochs"] = 1
    (plain,) = prepare_study(read_plan(write_plan(grid=ONE)), tmp_path / "plain")
    assert "speed" not in plain.config, "cells of earlier versions are the same"
    base["speed"] = "auto"
    (auto,) = prepare_study(read_plan(write_plan(grid=ONE)), tmp_path / "auto")
    base["speed"] = {"channels_last": True}
    (named,) = prepare_study(read_plan(write_plan(grid=ONE)), tmp_path / "named")
    assert [run_cell(cell.folder) for cell in (auto, named)] == ["finished", "finished"]
    assert json.loads((auto.folder / "speed.json").read_text())["choice"]["channels_last"] is True
    assert not (named.folder / "speed.json").exists()
    for name in ("predictions.csv", "train/predictions.csv"):
        assert (auto.folder / name).read_text() == (named.folder / name).read_text(), name

    before = len(tried)
    (auto.folder / "metrics.json").unlink()  # as if it had been stopped in the test
    assert run_cell(auto.folder) == "finished"
    assert len(tried) == before, "a resumed cell keeps its choice"


def test_a_wrong_speed_is_refused_before_anything_runs(write_plan, base, tmp_path) -> None:
    base["speed"] = {"chanels_last": True}
    with pytest.raises(PlanError, match="chanels_last"):
        prepare_study(read_plan(write_plan(grid=ONE)), tmp_path / "out")
