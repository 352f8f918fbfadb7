"""Cells as tasks of any executor of ``concurrent.futures``: the standard library's, Dask's, a cluster's."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from multiprocessing import connection, parent_process
from typing import Any, cast

from typing_extensions import override

from oahier.files import write_atomically
from oahier.specs import SpecError, import_class
from oahier.specs.trust import ENVIRONMENT, named_packages
from oahier.study.cell_run import Outcome
from oahier.study.cells import Cell
from oahier.study.child_processes import Processes
from oahier.study.executors import Executor, run_command

_started_here = Processes()
"""Cells that tasks in threads of this process run."""


class Futures(Executor):
    """Every cell a task of an executor, which starts a process for it where the task runs.

    Workers must see the study's folder and the data under the same paths, and have this library. A task that
    is sent again, because its worker was lost, goes on from the cell's last epoch, or leaves the cell alone
    where another process has it.

    Args:
        executor: any ``concurrent.futures.Executor``; of Dask ``Client(...).get_executor()``.
        close: called when no more cells are to run; the executor is the caller's where it is not given.
    """

    def __init__(self, executor: futures.Executor, close: Callable[[], Any] | None = None) -> None:
        self.executor = executor
        self._close = close or (lambda: None)

    @override
    def run(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        global _started_here
        _started_here = Processes()
        trusted = ",".join(sorted(named_packages()))
        tasks = {self.executor.submit(run_task, str(cell.folder.absolute()), trusted): cell for cell in cells}
        try:
            for task in futures.as_completed(tasks):
                yield tasks[task], _outcome(tasks[task], task)
        except BaseException:  # Ctrl-C, SIGTERM, or whoever reads the outcomes goes away
            for task in tasks:
                task.cancel()
            _started_here.end()
            for process in list((getattr(self.executor, "_processes", None) or {}).values()):
                process.terminate()  # its cell ends with it
            raise
        finally:
            self._close()


def run_task(folder: str, trusted: str) -> Outcome:
    """Run a cell in a process of its own, which ends with the process of this worker."""
    _end_with_parent()
    return run_command(Cell.read(folder), {ENVIRONMENT: trusted}, _started_here)


def _outcome(cell: Cell, task: futures.Future[Outcome]) -> Outcome:
    error = task.exception()
    if error is None:
        return task.result()
    if cell.state != "finished":
        write_atomically(cell.folder / "failure.txt", f"the task was lost: {type(error).__name__}: {error}\n")
    return "finished" if cell.state == "finished" else "failed"


def make_futures(path: str, arguments: Mapping[str, Any]) -> Futures:
    """Cells in an executor that a class path names, or in the one that such an object hands out.

    Args:
        path: of a ``concurrent.futures.Executor``, or of a class with ``get_executor()`` and ``close()``,
            such as ``distributed.Client``; of a package that is trusted.
        arguments: of the class.

    Raises:
        SpecError: there is no such class, its package is not trusted, it is no executor, or refuses the
            arguments.
    """
    found = import_class(path)
    if not issubclass(found, futures.Executor) and not hasattr(found, "get_executor"):
        raise SpecError(f"executor {path!r}: expected a concurrent.futures.Executor, got {found.__name__}")
    try:
        made: Any = found(**arguments)
    except (TypeError, ValueError, OSError) as error:
        raise SpecError(f"executor {path!r} cannot be made with {dict(arguments)}: {error}") from error
    if isinstance(made, futures.Executor):
        return Futures(made, lambda: made.shutdown(wait=False, cancel_futures=True))
    return Futures(cast("futures.Executor", made.get_executor()), made.close)


_watched = threading.Event()


def _end_with_parent() -> None:
    """End this process, if it is a worker, when the one that started it does, even if that is killed."""
    parent = parent_process()
    if parent is None or _watched.is_set():
        return
    _watched.set()

    def wait(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait, args=(parent.sentinel,), daemon=True).start()
