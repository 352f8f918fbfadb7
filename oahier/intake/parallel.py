"""Knees opened by several processes at once, with a bar."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oahier.intake.candidate import Candidate
from oahier.intake.journal import Record
from oahier.intake.knee_files import examine
from oahier.intake.pool import results_of

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
    processes = 0 if len(waiting) == 1 else min(workers, len(waiting))
    look = partial(_examined, folder=folder, convert=convert)
    records: dict[str, Record] = {}
    with bar(progress) as shown, closing(results_of(look, waiting, processes)) as results:
        task = shown.add_task("opening images", total=done + len(waiting), completed=done)
        try:
            for knee, record in results:
                records[knee] = record
                shown.advance(task)
        except BrokenProcessPool as error:
            raise ImportInterrupted(
                f"a process that read images was killed, or ran out of memory, after {len(records)} of "
                f"{len(waiting)} knees; what was done is kept in {folder}: run the same import again, "
                f"with fewer workers than {processes} if memory is short"
            ) from error
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error)) from error
    return records


def _examined(job: tuple[Candidate, str], folder: Path, convert: bool) -> tuple[str, Record]:
    candidate, fingerprint = job
    return candidate.knee, examine(candidate, folder, convert, fingerprint)
