"""Cells in executors of others, and cells whose parents are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path

import pytest

from oahier.cli import main
from oahier.specs import SpecError, trusting
from oahier.study import prepare_study, read_plan, read_study, run_study
from oahier.study.cells import lock
from oahier.study.child_processes import PARENT
from oahier.study.futures import Futures, make_futures

WATCHED = (
    "from oahier.study.child_processes import end_with_parent as e; e(0.05); import time; time.sleep(60)"
)


class Lost(futures.Executor):
    """Its tasks are lost with their workers."""

    def submit(self, fn, /, *args, **kwargs):
        future = futures.Future()
        future.set_exception(RuntimeError("the worker has gone"))
        return future


def test_lost_tasks_are_failures(write_plan, tmp_path):
    run = run_study(read_plan(write_plan()), tmp_path / "out", Futures(Lost()))
    assert [outcome for _, outcome in run] == ["failed", "failed"]
    (cell, _) = read_study(tmp_path / "out").cells
    assert cell.error == "the task was lost: RuntimeError: the worker has gone"


def test_class_paths_are_checked():
    with pytest.raises(SpecError, match=r"'other.Engine'.*package 'other' is not trusted"):
        make_futures("other.Engine", {})
    with pytest.raises(
        SpecError, match=r"'torch.nn.Linear': expected a concurrent.futures.Executor, got Linear"
    ):
        make_futures("torch.nn.Linear", {})
    with trusting("concurrent"), pytest.raises(SpecError, match=r"cannot be made with \{'max_workers': 0\}"):
        make_futures("concurrent.futures.ThreadPoolExecutor", {"max_workers": 0})


def test_unknown_executor_is_one_line(write_plan, tmp_path, capsys):
    words = ["study", "run", str(write_plan()), "--out", str(tmp_path / "out")]
    assert main([*words, "--executor", "cloud"]) == 2
    assert "expected process, pool, slurm, local-slurm or the path of a class" in capsys.readouterr().err
    assert main([*words, "--executor", "other.Engine"]) == 2
    assert "not trusted" in capsys.readouterr().err


def test_process_ends_with_a_killed_parent(tmp_path):
    """The parent is killed, which it cannot answer; its child ends all the same."""
    parent = f"""
import os, subprocess, sys, time
environment = {{**os.environ, {PARENT!r}: str(os.getpid())}}
child = subprocess.Popen([sys.executable, "-c", {WATCHED!r}], env=environment)
print(child.pid, flush=True); time.sleep(60)
"""
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    child = int(started.stdout.readline())
    os.kill(child, 0)
    started.kill()
    started.communicate()
    assert _ends(child, seconds=30)


def _ends(process: int, seconds: float) -> bool:
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # nobody has asked for its exit status
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["pool", "concurrent.futures.ProcessPoolExecutor"])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_no_cell_outlives_its_study(executor, by, write_plan, tmp_path):
    plan, out = write_plan(), tmp_path / "out"
    words = ["study", "run", str(plan), "--out", str(out), "--executor", executor, "--trust", "concurrent"]
    if "." in executor:
        words += ["--executor-options", "{max_workers: 2}"]
    command = [sys.executable, "-m", "oahier", *words]
    cells = [out / "cells" / name for name in ("single-kl_0", "dual_0")]
    study = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any((cell / "checkpoints" / "last.ckpt").is_file() for cell in cells):
        assert study.poll() is None
        time.sleep(0.02)
    study.send_signal(by)
    study.wait(timeout=60)
    started = time.monotonic()
    for cell in cells:
        while True:
            with lock(cell) as free:
                if free:
                    break
            assert time.monotonic() - started < 30, f"{cell.name} goes on without its study"
            time.sleep(0.1)
    assert main(words) == 0
    assert {cell.state for cell in read_study(out).cells} == {"finished"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of Dask's own sockets and event loops
def test_dask_with_two_workers(write_plan, base, tmp_path, capsys):
    """A cluster of two processes runs the cells; a second run, in threads, finds them finished."""
    distributed = pytest.importorskip("distributed")
    base["trainer"]["max_epochs"] = 1
    plan = write_plan(saliency=[])
    prepare_study(read_plan(plan), tmp_path / "out")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        words = [
            "study",
            "run",
            str(plan),
            "--out",
            str(tmp_path / "out"),
            "--executor",
            "distributed.Client",
        ]
        words += [
            "--executor-options",
            f"{{address: '{cluster.scheduler_address}'}}",
            "--trust",
            "distributed",
        ]
        assert main(words) == 0
        assert "2 of 2 cells ended well" in capsys.readouterr().out
    before = {path: path.stat().st_mtime for path in (tmp_path / "out").glob("cells/*/metrics.json")}
    assert len(before) == 2
    with futures.ThreadPoolExecutor(1) as pool:
        run = run_study(read_plan(plan), tmp_path / "out", Futures(pool))
        assert [outcome for _, outcome in run] == ["finished", "finished"]
    assert {path: path.stat().st_mtime for path in before} == before
