"""SIGTERM to a pool of cells, two studies in one folder: nothing goes on unseen, nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from oahier.cli import main
from oahier.interrupts import Terminated, ended_by_sigterm
from oahier.study import cell_run, prepare_study, read_plan
from oahier.study.cell_run import run_cell
from oahier.study.cells import Cell, lock
from oahier.study.child_processes import Processes
from oahier.study.executors import run_command

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal as s, time; s.signal(15, s.SIG_IGN); time.sleep(60)",
]


def test_processes_end_together() -> None:
    from concurrent.futures import ThreadPoolExecutor

    processes = Processes()
    with ThreadPoolExecutor(2) as pool:
        deaf = pool.submit(processes.wait, DEAF, stdout=subprocess.DEVNULL)
        sleeper = pool.submit(processes.wait, SLEEPER)
        while len(processes._running) < 2:
            time.sleep(0.01)
        time.sleep(0.5)  # until the deaf one is deaf
        processes.end(patience=0.2)
        assert sleeper.result(timeout=5) == -signal.SIGTERM
        assert deaf.result(timeout=5) in (-signal.SIGKILL, -signal.SIGTERM)
    assert processes.wait(SLEEPER) == -signal.SIGTERM, "none is started any more"


def test_cell_that_was_stopped_has_not_failed(write_plan, tmp_path):
    (cell, *_) = prepare_study(read_plan(write_plan()), tmp_path / "out")
    processes = Processes()
    processes.end()
    assert run_command(cell, processes=processes) == "failed"
    assert cell.state == "waiting"


def test_cell_that_fails_on_the_way_out_has_not_failed(write_plan, tmp_path, monkeypatch):
    """An error that SIGTERM left behind is no failure; the same error by itself is one."""

    def run(_: Cell, *, asked: bool) -> None:
        try:
            if asked:
                signal.raise_signal(signal.SIGTERM)
        finally:
            raise RuntimeError("a file that is half written")

    (cell, *_) = prepare_study(read_plan(write_plan()), tmp_path / "out")
    monkeypatch.setattr(cell_run, "_run", partial(run, asked=True))
    with pytest.raises(Terminated), ended_by_sigterm():
        run_cell(cell.folder)
    assert cell.state == "waiting"
    monkeypatch.setattr(cell_run, "_run", partial(run, asked=False))
    with ended_by_sigterm():
        assert run_cell(cell.folder) == "failed"
    assert cell.state == "failed"


def test_two_studies_in_one_folder(write_plan, tmp_path, capsys):
    plan = write_plan(grid={"supervision": ["dual"], "seed": [0]})
    (cell,) = prepare_study(read_plan(plan), tmp_path / "out")
    with lock(cell.folder):
        assert main(["study", "run", str(plan), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "dual_0 running in another process" in printed
    assert "0 of 1 cells ended well" in printed
    assert "study status" in printed


@pytest.mark.slow
def test_sigterm_ends_a_pool(write_plan, tmp_path):
    """Promptly, in training and in testing, and the study goes on afterwards."""
    plan, out = write_plan(), tmp_path / "out"
    words = ["study", "run", str(plan), "--out", str(out), "--executor", "pool", "--threads", "1"]
    command = [sys.executable, "-m", "oahier", *words]
    cells = [out / "cells" / name for name in ("single-kl_0", "dual_0")]
    study = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not any((cell / "checkpoints" / "last.ckpt").is_file() for cell in cells):
        assert study.poll() is None
        time.sleep(0.02)
    started = time.monotonic()
    study.send_signal(signal.SIGTERM)
    _, said = study.communicate(timeout=60)
    assert study.returncode == 143
    seconds = time.monotonic() - started
    print(f"a pool of two cells ended {seconds:.1f} s after SIGTERM")
    assert "stopped by SIGTERM; run the same command again" in said
    for cell in cells:
        with lock(cell) as free:
            assert free, "no process has the cell any more"
        failure = cell / "failure.txt"
        assert not failure.exists(), failure.read_text()
    assert main(words) == 0
