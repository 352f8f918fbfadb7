"""Knees opened by several processes at once, with a bar."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oahier.data.importers.candidates import Candidate
from oahier.data.importers.journal import Record
from oahier.data.importers.knee import examine

logger = logging.getLogger(__name__)


class ImportInterrupted(OSError):
    """A process that read images ended before its time."""


def bar(progress: bool) -> Progress:
    """A progress bar on standard error, silent if ``progress`` is false."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not progress,
    )  # fmt: skip


def announce(message: str, progress: bool) -> None:
    """Say what is going to be written: on standard error, or in the log where nothing is shown."""
    logger.info("%s", message)
    if progress:
        Console(stderr=True).print(message, soft_wrap=True, highlight=False, markup=False)


def examine_all(
    folder: Path,
    waiting: Sequence[tuple[Candidate, str]],
    convert: bool,
    workers: int,
    progress: bool,
    done: int = 0,
) -> dict[str, Record]:
    """Open knees, here or in ``workers`` processes.

    Args:
        folder: the destination.
        waiting: knees and the fingerprints of their sources.
        convert: write every image.
        workers: number of processes, 0 for none but this one.
        progress: show a bar.
        done: knees that need not be opened, for the bar.

    Returns:
        the records by knee.

    Raises:
        ValueError: a negative number of workers.
        ImportInterrupted: a process was killed or ran out of memory.
        OSError: the destination cannot be written.
    """
    if workers < 0:
        raise ValueError(f"expected workers of 0 or more, got {workers}")
    if not waiting:
        return {}
    with bar(progress) as shown:
        task = shown.add_task("opening images", total=done + len(waiting), completed=done)

        def advance() -> None:
            shown.advance(task)

        if workers == 0 or len(waiting) == 1:
            records = {}
            for candidate, fingerprint in waiting:
                records[candidate.knee] = examine(candidate, folder, convert, fingerprint)
                advance()
            return records
        return _in_processes(folder, waiting, convert, min(workers, len(waiting)), advance)


def _in_processes(
    folder: Path,
    waiting: Sequence[tuple[Candidate, str]],
    convert: bool,
    workers: int,
    advance: Callable[[], None],
) -> dict[str, Record]:
    records: dict[str, Record] = {}
    pool = ProcessPoolExecutor(workers, mp_context=_context(), initializer=_start)
    try:
        futures: dict[Future[Record], str] = {
            pool.submit(examine, candidate, folder, convert, fingerprint): candidate.knee
            for candidate, fingerprint in waiting
        }
        for future in as_completed(futures):
            records[futures[future]] = future.result()
            advance()
    except BrokenProcessPool as error:
        raise ImportInterrupted(
            f"a process that read images was killed, or ran out of memory, after {len(records)} of "
            f"{len(waiting)} knees; what was done is kept in {folder}: run the same import again, "
            f"with fewer workers than {workers} if memory is short"
        ) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error)) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return records


def _context() -> multiprocessing.context.BaseContext:
    """Processes that start from a clean one: a copy of this one may hold locks of its threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([examine.__module__])
    return context


def _start() -> None:
    """Leave interrupts to the main process, and end when it does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
