"""One Weights & Biases group a study, one run a cell, with the real SDK offline."""

from __future__ import annotations

import copy

import pytest

from oahier.study import prepare_study, read_plan, read_study, run_study
from oahier.study.executors import InProcess
from oahier.study.tracking import track

WANDB = {
    "class_path": "lightning.pytorch.loggers.WandbLogger",
    "init_args": {"project": "knees", "offline": True},
}


def test_runs_are_named_after_cells_and_grouped_by_study(write_plan, base, tmp_path):
    base["trainer"]["logger"] = WANDB
    cells = prepare_study(read_plan(write_plan()), tmp_path / "out")
    before = copy.deepcopy(cells[0].config)
    first, second = (track(cell.config, cell)["trainer"]["logger"]["init_args"] for cell in cells)
    assert (first["group"], second["group"]) == ("mini", "mini")
    assert (first["name"], second["name"]) == ("single-kl_0", "dual_0")
    assert first["id"] != second["id"]
    assert first["id"] == track(cells[0].config, cells[0])["trainer"]["logger"]["init_args"]["id"]
    assert first["project"] == "knees"
    assert first["save_dir"] == str(cells[0].folder)
    assert cells[0].config == before


def test_without_a_logger_nothing_is_tracked(write_plan, tmp_path):
    (cell, _) = prepare_study(read_plan(write_plan()), tmp_path / "out")
    assert track(cell.config, cell)["trainer"]["logger"] is False


@pytest.mark.slow
def test_offline_runs_lie_in_the_cells(write_plan, base, tmp_path):
    base["trainer"] |= {"logger": WANDB, "max_epochs": 1}
    outcomes = [outcome for _, outcome in run_study(read_plan(write_plan()), tmp_path / "out", InProcess())]
    assert outcomes == ["finished", "finished"]
    for cell in read_study(tmp_path / "out").cells:
        (run,) = (cell.folder / "wandb").glob("offline-run-*")
        assert list(run.glob("*.wandb"))
