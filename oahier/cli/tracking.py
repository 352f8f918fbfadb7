"""One Weights & Biases run of a training, however often it is resumed."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import WandbLogger

from oahier.callbacks import WandbRun
from oahier.callbacks.keys import run_directory
from oahier.callbacks.wandb_run import keep_private
from oahier.files import write_atomically


def continue_tracking(trainer: L.Trainer, *, resumed: bool) -> None:
    """Give the first Weights & Biases logger the id that the run's folder keeps, or a new one.

    A logger with an id or settings of the user's keeps those, as does the agent of a sweep. Where there is a
    logger, :class:`~oahier.callbacks.WandbRun` completes its run.
    """
    trackers = _trackers(trainer)
    if trackers:  # its history and summary of every value would push our table off the screen
        os.environ.setdefault("WANDB_QUIET", "true")
    keep_private(trackers)
    for logger in trackers[:1]:
        if logger.version is None:
            kept = _kept(trainer)
            known = kept.read_text(encoding="utf-8").strip() if resumed and kept.is_file() else ""
            known = known or os.environ.get("WANDB_RUN_ID", "")
            logger._id = logger._wandb_init["id"] = known or uuid.uuid4().hex[:8]
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if trackers and not any(isinstance(callback, WandbRun) for callback in callbacks):
        callbacks.append(WandbRun())


def keep_tracking(trainer: L.Trainer) -> None:
    """Write the id into the run's folder."""
    for logger in _trackers(trainer)[:1]:
        write_atomically(_kept(trainer), f"{logger.version}\n")


def finish_tracking(trainer: L.Trainer) -> None:
    """End the Weights & Biases run of a command, so that the next one in this process has its own."""
    for logger in _trackers(trainer):
        logger.experiment.finish()


def _trackers(trainer: L.Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _kept(trainer: L.Trainer) -> Path:
    return run_directory(trainer) / "wandb-id.txt"
