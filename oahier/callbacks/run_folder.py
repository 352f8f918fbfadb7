"""Checkpoints and test results in the folder of a run, and which of them still hold."""

from __future__ import annotations

import logging
import zipfile
import zlib
from pathlib import Path

import lightning as L

from oahier.callbacks.keys import run_directory
from oahier.callbacks.step_recorder import StepRecorder

_log = logging.getLogger(__name__)

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
"""Files in ``checkpoints/``: the best epoch, the last finished one, and the one before that."""

_RESULTS = ("metrics.json", "predictions.csv", "embeddings.npz", "test.yaml", "validate.yaml")


def last_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint from which a training goes on: ``last.ckpt``, or the one before if that is damaged.

    Args:
        folder: of the run, or of its checkpoints.

    Returns:
        The file; ``None`` where no epoch was finished.

    Raises:
        ValueError: all of them are damaged.
    """
    folder = Path(folder)
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    candidates = [path for path in (folder / LAST, folder / PREVIOUS) if path.is_file()]
    for index, path in enumerate(candidates):
        if is_whole(path):
            return path
        rest = candidates[index + 1 :]
        if rest:
            _log.warning("%s is damaged (%d bytes); %s is used", path, path.stat().st_size, rest[0])
    if candidates:
        raise ValueError(
            f"{' and '.join(map(str, candidates))}: damaged; remove them to train anew, or name another "
            "checkpoint to go on from"
        )
    return None


def is_whole(path: Path) -> bool:
    """True for a checkpoint that has its end and its checksums; torch writes zip archives."""
    with path.open("rb") as stream:
        try:
            return zipfile.ZipFile(stream).testzip() is None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError):
            return False  # a directory that was changed leads anywhere


def checkpoints_in(run: Path) -> list[Path]:
    """The checkpoints of a run that exist."""
    return [path for name in (BEST, LAST, PREVIOUS) if (path := run / "checkpoints" / name).is_file()]


def set_aside(trainer: L.Trainer) -> None:
    """Move test results, which belong to weights that are about to be replaced, to ``earlier-1/``."""
    run = run_directory(trainer)
    found = [path for name in _result_files(trainer) for path in sorted(run.glob(name))]
    if not found:
        return
    number = 1
    while (run / f"earlier-{number}").exists():
        number += 1
    for path in found:
        target = run / f"earlier-{number}" / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    _log.warning(
        "%s: %d test results of the checkpoint before are in earlier-%d/ now; test again after training",
        run, len(found), number,
    )  # fmt: skip


def _result_files(trainer: L.Trainer) -> list[str]:
    """Names and patterns of what a test writes, with the callbacks and heads of a trainer."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    names = [callback.name for callback in callbacks if isinstance(callback, StepRecorder)]
    heads = list(getattr(trainer.lightning_module, "heads", ()))
    tables = [f"{name}.csv" for name in names] + ["severity_*.csv"]
    figures = [f"pictures/{name}.png" for name in (*names, "severity_*", *(f"{head}_*" for head in heads))]
    return [*_RESULTS, *tables, *names, *figures]
