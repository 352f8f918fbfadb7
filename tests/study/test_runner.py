"""Running, resuming and refusing studies."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from oahier.study import PlanError, prepare_study, read_plan, read_study, run_cell, run_study, status_table
from oahier.study.cells import lock
from oahier.study.executors import InProcess, ProcessPool, Slurm

RESULTS = (
    "predictions.csv",
    "train/predictions.csv",
    "saliency/gradcam-kl.csv",
    "learning_curves.csv",
)


class StopAt(L.Callback):
    """Stops a training as a kill would, in the middle of an epoch."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == self.epoch and trainer.ckpt_path is None:
            raise KeyboardInterrupt


def outcomes(plan_file: Path, folder: Path, executor=None) -> dict[str, str]:
    run = run_study(read_plan(plan_file), folder, executor or InProcess())
    return {cell.name: outcome for cell, outcome in run}


def test_cells_hold_every_file_and_finished_ones_are_skipped(write_plan, tmp_path):
    plan = write_plan()
    assert outcomes(plan, tmp_path / "out") == {"single-kl_0": "finished", "dual_0": "finished"}
    cell = tmp_path / "out" / "cells" / "dual_0"
    for name in (
        *RESULTS, "config.yaml", "cell.json", "embeddings.npz", "train/embeddings.npz", "log.txt",
        "saliency/gradcam-oa.csv", "checkpoints/best.ckpt", "metrics.json",
    ):  # fmt: skip
        assert (cell / name).is_file(), name
    assert not (cell / "unfinished").exists()
    metrics = json.loads((cell / "metrics.json").read_text())
    assert metrics["knees"] == 10
    assert metrics["split_knees"] == {"train": 15, "test": 10, "val": 5}
    assert 1 <= metrics["epoch"] <= 2
    predictions = pd.read_csv(cell / "predictions.csv")
    assert list(predictions["knee"]) == [f"knee-{number}" for number in range(20, 30)]
    training = np.load(cell / "train" / "embeddings.npz")
    assert training["embedding"].shape == (15, 64)
    maps = sorted(path.name for path in (cell / "saliency" / "gradcam-kl").iterdir())
    shown = sorted(path.stem for path in (tmp_path / "out" / "knees").iterdir())
    assert maps == [f"{name}.nii.gz" for name in shown]
    assert len(shown) == 2
    volume = np.load(tmp_path / "out" / "knees" / f"{shown[0]}.npz")
    assert volume["mri"].shape == volume["cartilage"].shape == (12, 14, 12)
    assert volume["cartilage"].any()

    stamp = (cell / "metrics.json").stat().st_mtime_ns
    assert outcomes(plan, tmp_path / "out") == {"single-kl_0": "finished", "dual_0": "finished"}
    assert (cell / "metrics.json").stat().st_mtime_ns == stamp

    study = read_study(tmp_path / "out")
    assert [cell.state for cell in study.cells] == ["finished", "finished"]
    assert status_table(study).row_count == 2
    assert study.cells[0].probes == ["oa"]


def test_a_cell_that_was_interrupted_ends_as_one_that_was_not(write_plan, base, tmp_path, monkeypatch):
    base["trainer"]["max_epochs"] = 3
    base["model"]["encoder"]["init_args"]["norm"] = "batch"
    plan = write_plan(grid={"supervision": ["dual"], "seed": [0]})
    whole = tmp_path / "whole" / "cells" / "dual_0"
    assert outcomes(plan, tmp_path / "whole") == {"dual_0": "finished"}

    (cell,) = prepare_study(read_plan(plan), tmp_path / "broken")
    config = cell.config
    stopped = {
        **config,
        "trainer": {**config["trainer"], "callbacks": [{"class_path": "stopping.StopAt"}]},
    }
    monkeypatch.setitem(sys.modules, "stopping", sys.modules[StopAt.__module__])
    monkeypatch.setenv("OAHIER_TRUST", f"stopping,{StopAt.__module__}")
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(stopped, sort_keys=False))
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_cell(cell.folder)
    assert cell.state == "waiting"
    assert (cell.folder / "checkpoints" / "last.ckpt").is_file()
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    torch.manual_seed(123)
    assert run_cell(cell.folder) == "finished"
    for name in RESULTS:
        assert (cell.folder / name).read_text() == (whole / name).read_text(), name
    for name in ("embeddings.npz", "train/embeddings.npz"):
        assert np.array_equal(np.load(cell.folder / name)["embedding"], np.load(whole / name)["embedding"])


def test_a_crash_is_reported_and_the_study_goes_on(write_plan, base, tmp_path):
    plan = write_plan(
        grid={
            "variant": {"bad": {"model.encoder.init_args.depth": 11}, "good": {}},
            "supervision": ["dual"],
            "seed": [0],
        }
    )
    assert outcomes(plan, tmp_path / "out") == {"bad_dual_0": "failed", "good_dual_0": "finished"}
    study = read_study(tmp_path / "out")
    assert study.cells[0].state == "failed"
    assert "depth must be one of [10, 18, 34], got 11" in study.cells[0].error
    assert "Traceback" in (study.cells[0].folder / "failure.txt").read_text()


def test_a_monitor_that_is_never_logged_fails_the_cell(write_plan, tmp_path):
    plan = write_plan(monitor="val/kl/qwkk", grid={"supervision": ["dual"], "seed": [0]})
    assert outcomes(plan, tmp_path / "out") == {"dual_0": "failed"}
    assert "val/kl/qwkk" in read_study(tmp_path / "out").cells[0].error


def test_last_epoch_without_validation(write_plan, base, tmp_path):
    base["trainer"]["max_epochs"] = 1
    plan = write_plan(preset="paper", grid={"supervision": ["single-oa"], "seed": [0]})
    assert outcomes(plan, tmp_path / "out") == {"single-oa_0": "finished"}
    cell = tmp_path / "out" / "cells" / "single-oa_0"
    assert (cell / "checkpoints" / "last.ckpt").is_file()
    assert not (cell / "validation").exists()
    assert "prob_kl_0" not in pd.read_csv(cell / "predictions.csv")
    assert not any(name.startswith("val/") for name in pd.read_csv(cell / "learning_curves.csv"))


def test_folders_of_another_study_are_refused(write_plan, base, tmp_path):
    out = tmp_path / "out"
    prepare_study(read_plan(write_plan()), out)
    with pytest.raises(PlanError, match="is the output of study 'mini'"):
        prepare_study(read_plan(write_plan(name="other")), out)
    with pytest.raises(PlanError, match="is the output of study 'mini' with axes supervision, seed"):
        prepare_study(read_plan(write_plan(grid={"supervision": ["dual"]})), out)
    base["data"]["batch_size"] = 3
    with pytest.raises(
        PlanError, match=r"(?s)another configuration.*-    batch_size: 4.*\+    batch_size: 3"
    ):
        prepare_study(read_plan(write_plan()), out)
    base["data"]["batch_size"] = 4
    with pytest.raises(PlanError, match="no longer has, such as 'single-kl_0'"):
        prepare_study(read_plan(write_plan(grid={"supervision": ["dual"], "seed": [0]})), out)
    base["data"]["num_workers"] = 1
    grown = prepare_study(
        read_plan(write_plan(grid={"supervision": ["single-kl", "dual"], "seed": [0, 1]})), out
    )
    assert [cell.name for cell in grown] == ["single-kl_0", "single-kl_1", "dual_0", "dual_1"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(PlanError, match="expected an empty folder"):
        prepare_study(read_plan(write_plan()), tmp_path / "full")


def test_data_that_cannot_be_used_fails_before_training(write_plan, base, tmp_path, knees):
    broken = tmp_path / "knees.csv"
    shutil.copy(knees, broken)  # without the volumes beside it
    base["data"]["manifest"] = str(broken)
    with pytest.raises(PlanError, match="knee-00"):
        outcomes(write_plan(), tmp_path / "out")


def test_a_cell_runs_once_at_a_time(write_plan, tmp_path):
    (cell, _) = prepare_study(read_plan(write_plan()), tmp_path / "out")
    assert cell.state == "waiting"
    with lock(cell.folder) as mine:
        assert mine
        assert cell.state == "running"
        assert run_cell(cell.folder) == "running"
    assert cell.state == "waiting"


def test_damaged_and_missing_folders(tmp_path):
    with pytest.raises(PlanError, match="expected the folder of a study"):
        read_study(tmp_path)
    with pytest.raises(PlanError, match="expected the folder of a cell"):
        run_cell(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(PlanError, match="damaged"):
        read_study(tmp_path)


def test_a_pool_needs_workers():
    with pytest.raises(ValueError, match="workers and threads: expected 1 or more"):
        ProcessPool(0)


def test_no_cluster_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"SLURM.*pool"):
        Slurm(tmp_path)
    with pytest.raises(ValueError, match="SLURM"):
        Slurm(tmp_path, cluster="local", parameters={"nonsense": 3})


@pytest.mark.slow
def test_processes_and_jobs_give_what_one_process_gives(write_plan, tmp_path):
    plan = write_plan()
    expected = dict.fromkeys(("single-kl_0", "dual_0"), "finished")
    assert outcomes(plan, tmp_path / "pool", ProcessPool(2, threads=1)) == expected
    jobs = Slurm(tmp_path / "jobs" / "jobs", cluster="local", parameters={"timeout_min": 5}, poll=0.5)
    assert outcomes(plan, tmp_path / "slurm", jobs) == expected
    for cell in expected:
        first, second = (
            pd.read_csv(tmp_path / kind / "cells" / cell / "predictions.csv") for kind in ("pool", "slurm")
        )
        pd.testing.assert_frame_equal(first, second, rtol=1e-3)


@pytest.mark.slow
def test_a_cell_may_be_distributed(write_plan, base, tmp_path):
    base["trainer"] |= {"devices": 2, "strategy": "ddp"}
    plan = write_plan(grid={"supervision": ["dual"], "seed": [0]})
    assert outcomes(plan, tmp_path / "out") == {"dual_0": "finished"}
    cell = tmp_path / "out" / "cells" / "dual_0"
    assert pd.read_csv(cell / "predictions.csv")["knee"].is_unique
    assert len(pd.read_csv(cell / "predictions.csv")) == 10
    assert len(pd.read_csv(cell / "train" / "predictions.csv")) == 15
    assert json.loads((cell / "metrics.json").read_text())["knees"] == 10
