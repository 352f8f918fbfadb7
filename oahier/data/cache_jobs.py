"""Making cache entries, one after the other or in several processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from oahier.data.content import Finding, read_knee
from oahier.data.entry import DamagedEntry, verify_entry, write_entry
from oahier.data.preprocessing import Preprocessing, preprocess

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One entry to be made, and from what."""

    position: int
    entry: Path
    mri: Path
    cartilage: Path | None
    preprocessing: Preprocessing
    mirror: bool

    def run(self) -> list[Finding] | OSError:
        """Read, preprocess and write; an error of the disk is returned, since it ends everything."""
        try:
            images, findings = read_knee(self.mri, self.cartilage)
            if images is not None:
                write_entry(self.entry, preprocess(images, self.preprocessing, mirror=self.mirror))
        except OSError as error:
            return error
        except ValueError as error:
            return [Finding("mri", f"{self.mri}: {error}")]
        return findings


def run_jobs(jobs: list[Job], num_workers: int) -> Iterator[tuple[Job, list[Finding]]]:
    """Run all jobs in order, with a bar on a terminal; what was wrong with each knee.

    Raises:
        OSError: the disk is full, or the cache cannot be written.
    """
    loader: Any = DataLoader(_Jobs(jobs), batch_size=None, num_workers=min(num_workers, len(jobs)))
    for job, findings in zip(jobs, _progress(loader, len(jobs)), strict=True):
        if isinstance(findings, OSError):
            raise findings
        yield job, findings


def is_whole(path: Path, *, verify: bool = False) -> bool:
    """True if there is a complete entry; a damaged one is logged."""
    try:
        verify_entry(path, every_byte=verify)
    except FileNotFoundError:
        return False
    except DamagedEntry as error:
        logger.warning("cache entry is rebuilt: %s", error)
        return False
    return True


class _Jobs(Dataset[Any]):
    """Lets the loader's worker processes do the preprocessing."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, index: int) -> list[Finding] | OSError:
        return self._jobs[index].run()


def _progress(results: Any, total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} knees/s")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield from bar.track(results, total=total, description="Preprocessing knees")
