"""Executors of cells: this process, a pool of processes, or jobs of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from typing_extensions import override

from oahier.files import write_atomically
from oahier.study.cell_run import Outcome, run_cell
from oahier.study.cells import Cell
from oahier.study.child_processes import PARENT, Processes


class Executor(ABC):
    """Runs cells and yields each as it ends."""

    @abstractmethod
    def run(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        """Run the cells, in any order."""


class InProcess(Executor):
    """One cell after another in this process; cells on several devices get a process of their own."""

    @override
    def run(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        for cell in cells:
            yield cell, run_command(cell) if _distributed(cell) else run_cell(cell.folder)


class ProcessPool(Executor):
    """Several cells at a time, each in a process of its own, so that one that dies leaves the others alone.

    Args:
        workers: cells at a time.
        threads: processor threads of each; by default the cores are shared out evenly.

    Raises:
        ValueError: fewer than one worker or thread.
    """

    def __init__(self, workers: int = 2, threads: int | None = None) -> None:
        if workers < 1 or (threads is not None and threads < 1):
            raise ValueError(f"workers and threads: expected 1 or more, got {workers} and {threads}")
        self.workers = workers
        self.threads = threads or max(1, (os.cpu_count() or 1) // workers)

    @override
    def run(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        environment = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        running = Processes()
        with ThreadPoolExecutor(self.workers) as pool:
            futures = {pool.submit(run_command, cell, environment, running): cell for cell in cells}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:  # Ctrl-C, SIGTERM, or whoever reads the outcomes goes away
                pool.shutdown(wait=False, cancel_futures=True)
                running.end()
                raise


class Slurm(Executor):
    """Every cell a job, through submitit; a job that is preempted is queued again and goes on.

    Args:
        jobs: folder for submitit's files and logs.
        cluster: ``None`` for SLURM, ``"local"`` for processes of this machine that behave like it.
        parameters: of ``submitit.AutoExecutor.update_parameters``, e.g. ``{"timeout_min": 600,
            "slurm_partition": "gpu", "gpus_per_node": 1, "mem_gb": 64}``.
        poll: seconds between two looks at the queue.

    Raises:
        ImportError: submitit is not installed.
        ValueError: a parameter that submitit does not know, or no SLURM on this machine.
    """

    def __init__(
        self,
        jobs: str | Path,
        *,
        cluster: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        poll: float = 5.0,
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ImportError("the SLURM executor needs submitit: pip install 'oahier[slurm]'") from error
        try:
            self._executor = submitit.AutoExecutor(folder=str(jobs), cluster=cluster or "slurm")
            self._executor.update_parameters(**{"timeout_min": 24 * 60, **(parameters or {})})
        except (RuntimeError, NameError, TypeError) as error:
            raise ValueError(f"SLURM: {error}; use the executor `pool` where there is no cluster") from error
        self.poll = poll

    @override
    def run(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        jobs = {cell.name: (cell, self._executor.submit(CellJob(str(cell.folder)))) for cell in cells}
        while jobs:
            for name, (cell, job) in list(jobs.items()):
                if job.done():
                    del jobs[name]
                    error = job.exception()
                    if error is not None and cell.state != "finished":
                        write_atomically(cell.folder / "failure.txt", f"job {job.job_id}: {error}\n")
                    yield cell, "finished" if cell.state == "finished" else "failed"
            if jobs:
                time.sleep(self.poll)


class CellJob:
    """A cell as submitit runs it; when the job is preempted, the same cell is submitted again."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self) -> str:
        return run_cell(self.folder)

    def checkpoint(self) -> Any:
        """The job to queue after preemption: the cell goes on from its last checkpoint."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def run_command(
    cell: Cell, environment: Mapping[str, str] | None = None, processes: Processes | None = None
) -> Outcome:
    """Run a cell by ``oahier study cell`` in a process of its own, which ends with this one.

    Its output goes to ``output.txt``.
    """
    command = [sys.executable, "-m", "oahier", "study", "cell", str(cell.folder)]
    processes = processes or Processes()
    with (cell.folder / "output.txt").open("ab") as output:
        status = processes.wait(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {}), PARENT: str(os.getpid())},
        )
    state = cell.state
    if processes.ended:  # no failure of the cell
        return "finished" if state == "finished" else "failed"
    if state not in ("finished", "running") and (state == "waiting" or status < 0):
        reason = f"signal {-status}" if status < 0 else f"exit status {status}"
        last = f"the process ended with {reason}; see {cell.folder / 'output.txt'}"
        write_atomically(cell.folder / "failure.txt", last + "\n")
    return state if state in ("finished", "running") else "failed"


def _distributed(cell: Cell) -> bool:
    trainer = cell.config["trainer"]
    return trainer.get("devices") not in (None, "auto", 1, "1", [0]) or trainer.get("num_nodes", 1) > 1
