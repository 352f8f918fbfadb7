"""Work done by several processes at once, no further ahead than it is needed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import connection
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 4
"""Jobs for each process that wait or are done, so that it never waits itself."""


def results_of(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """What a function of a module gives for each job, as it comes; jobs are asked for when there is room.

    Args:
        function: of a job, or a partial of one; both go to other processes.
        jobs: may be without end.
        workers: number of processes, 0 for none but this one.

    Raises:
        ValueError: a negative number of workers.
        BrokenProcessPool: a process was killed, or ran out of memory.
    """
    if workers < 0:
        raise ValueError(f"expected workers of 0 or more, got {workers}")
    if workers == 0:
        yield from map(function, jobs)
        return
    context = _context(getattr(function, "func", function).__module__)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start)
    pending: set[Future[Result]] = set()
    try:
        for job in jobs:
            pending.add(pool.submit(function, job))
            if len(pending) >= _AHEAD * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context(module: str) -> multiprocessing.context.BaseContext:
    """Processes that start from a clean one: a copy of this one may hold locks of its threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def _start() -> None:
    """Leave interrupts to the main process, and end when it does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
