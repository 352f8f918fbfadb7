"""Ordered multiprocess map with prefetching."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from multiprocessing.synchronize import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessKilled(OSError):
    """A worker process was killed, most often by the system because memory ran out.

    Args:
        items: what it may have worked on, in words.
        workers: number of processes.
    """

    def __init__(self, items: str, workers: int) -> None:
        self.items = items
        super().__init__(
            f"a process was killed, perhaps for its memory: use fewer than {workers} (it worked on {items})"
        )


def process_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    ahead: int = 2,
    name: Callable[[Item], object] = str,
) -> Generator[Result, None, None]:
    """Results in the order of the items, computed by other processes before they are asked for.

    Random states are neither read nor advanced, and each process computes with one thread. Ctrl-C interrupts
    the items in work; if this process is killed, the others end with it. An exception of the function keeps
    its kind and gets the item's name as a note.

    Args:
        function: a function of a module, or another callable that can be pickled, as items and results are.
        items: taken one by one as there is room; may be endless.
        workers: number of processes, 0 for none but this one.
        ahead: items of each process that are in work or done and not yet taken; bounds the memory.
        name: name of an item for messages.

    Raises:
        ValueError: a negative number of workers.
        ProcessKilled: a process was killed; the message names the items that it may have worked on.
    """
    if workers < 0:
        raise ValueError(f"expected workers of 0 or more, got {workers}")
    if isinstance(items, Sized):
        workers = 0 if len(items) == 1 else min(workers, len(items))
    if workers == 0:
        yield from map(function, items)
        return
    stop = multiprocessing.Event()
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(stop,))
    pending: deque[tuple[Item, Future[Result]]] = deque()
    remaining = iter(items)
    try:
        while True:
            for item in remaining:
                pending.append((item, pool.submit(_run, function, item)))
                if len(pending) >= ahead * workers:
                    break
            if not pending:
                return
            result = _result_of(*pending[0], name)
            pending.popleft()
            yield result
    except BrokenProcessPool as error:
        unfinished = [item for item, future in pending if future.exception() is not None]
        names = ", ".join(str(name(item)) for item in unfinished[:workers])
        raise ProcessKilled(names, workers) from error
    except BaseException:  # also that nobody wants the other results
        _interrupt(pool, stop)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result_of(item: Item, future: Future[Result], name: Callable[[Item], object]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except KeyboardInterrupt:  # of this process or of the other, whichever was first
        raise KeyboardInterrupt from None
    except Exception as error:
        error.add_note(f"while a process worked on {name(item)}")
        raise


def _interrupt(pool: ProcessPoolExecutor, stop: Event) -> None:
    """Let no process begin another item, and interrupt those in work."""
    stop.set()
    for pid in list(pool._processes or ()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


_stop: Event | None = None
"""Of a worker process: set when no more items are to be begun."""


def _start(stop: Event) -> None:
    """Leave interrupts to the main process while idle, and end when it does, even if it is killed."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _run(function: Callable[[Item], Result], item: Item) -> Result:
    """Ctrl-C interrupts a function at work, once, so that it can clear up; idle processes ignore it."""
    try:
        signal.signal(signal.SIGINT, _raise_once)
        if _stop is not None and _stop.is_set():
            raise KeyboardInterrupt
        return function(item)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _raise_once(*_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
