"""Knees opened by several processes at once, with a bar."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from oahier.intake.candidate import Candidate
from oahier.intake.journal import Record
from oahier.intake.knee_files import examine
from oahier.processes import ProcessKilled, process_map
from oahier.progress import progress as show


class ImportInterrupted(OSError):
    """A process that read images ended before its time."""


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
    look = partial(_examined, folder=folder, convert=convert)
    found = process_map(look, waiting, workers, ahead=4, name=lambda job: job[0].knee)
    records: dict[str, Record] = {}
    try:
        for knee, record in show(found, done + len(waiting), "opening images", show=progress, done=done):
            records[knee] = record
    except ProcessKilled as error:
        raise ImportInterrupted(
            f"a process was killed while it read {error.items}, after {len(records)} of {len(waiting)} "
            f"knees; what was done is kept in {folder}: run the same import again, with fewer workers than "
            f"{workers} if memory is short"
        ) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error)) from error
    return records


def _examined(job: tuple[Candidate, str], folder: Path, convert: bool) -> tuple[str, Record]:
    candidate, fingerprint = job
    return candidate.knee, examine(candidate, folder, convert, fingerprint)
