"""Running one cell: train or go on training, test once, write every file, and last ``metrics.json``."""

from __future__ import annotations

import json
import logging
import shutil
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.callbacks import ModelCheckpoint

from oahier.callbacks import (
    CartilageSaliency,
    GradeDecoding,
    LastCheckpoint,
    LearningCurves,
    OrdinalMetrics,
    PredictionWriter,
    SeverityAxis,
    WandbRun,
    last_checkpoint,
)
from oahier.callbacks.best_checkpoint import BestCheckpoint
from oahier.callbacks.evaluation_pass import evaluated_table
from oahier.callbacks.grade_decoding import Decoded, rule_of
from oahier.callbacks.prediction_writer import write_predictions
from oahier.callbacks.run_folder import BEST, LAST
from oahier.callbacks.run_log import RunLog
from oahier.callbacks.wandb_run import keep_private
from oahier.data import KneeMRIDataModule
from oahier.files import write_atomically, write_json
from oahier.interrupts import interruption
from oahier.metrics import Decoding
from oahier.model.checkpoints import epochs_and_steps
from oahier.specs import build
from oahier.speed import SpeedSetting
from oahier.speed.setting import tried_before
from oahier.study.cells import Cell, lock
from oahier.study.configuration import Parts, instantiate
from oahier.study.example_volumes import test_knees
from oahier.study.quiet import quietly
from oahier.study.randomness import ResumableRandomness
from oahier.study.tracking import finish_tracking, track

_log = logging.getLogger("oahier.study")

Outcome = Literal["finished", "failed", "running"]

_EVALUATION = ("max_epochs", "max_steps", "min_epochs", "min_steps", "callbacks", "logger")


def run_cell(folder: str | Path) -> Outcome:
    """Bring a cell to its end, whatever state it is in.

    A finished cell is left alone, a half-trained one goes on from its last checkpoint. What is raised is
    written to ``failure.txt`` with its traceback.

    Args:
        folder: the cell's folder.

    Returns:
        ``"finished"``, ``"failed"``, or ``"running"`` where another process has the cell.

    Raises:
        PlanError: there is no cell.
    """
    cell = Cell.read(folder)
    if _get_rank():  # a further process of distributed training: the first one holds the lock
        _run(cell)
        return "finished"
    with lock(cell.folder) as mine:
        if not mine:
            return "running"
        if cell.state == "finished":
            return "finished"
        try:
            _run(cell)
        except Exception as error:
            asked = interruption(error)
            if asked:  # no failure of the cell, which goes on from its last checkpoint
                raise asked from None
            write_atomically(cell.folder / "failure.txt", _failure(error))
            _log.error("cell %s failed: %s", cell.name, error)
            return "failed"
        (cell.folder / "failure.txt").unlink(missing_ok=True)
        return "finished"


def _failure(error: Exception) -> str:
    text = "".join(traceback.format_exception(error)).rstrip()
    last = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{text}\n{last}\n"


def _run(cell: Cell) -> None:
    try:
        with quietly():
            _train_and_test(cell)
    finally:
        finish_tracking()


def _train_and_test(cell: Cell) -> None:
    started = time.monotonic()
    config = cell.config
    L.seed_everything(config["seed_everything"], workers=True, verbose=False)
    parts = instantiate(track(config, cell))
    keep_private(parts.trainer.get("logger"))
    checkpoint = _fit(cell, parts)
    work = cell.folder / "unfinished"
    if not _get_rank():
        shutil.rmtree(work, ignore_errors=True)
    _test(cell, parts, checkpoint, work)
    if not _get_rank():
        _publish(cell, work, {**_facts(parts, checkpoint), "seconds": round(time.monotonic() - started, 1)})


def _fit(cell: Cell, parts: Parts) -> Path:
    """Train to the end; returns the checkpoint to test."""
    monitor = cell.settings["monitor"]
    own: list[L.Callback] = [
        OrdinalMetrics(figure_every_n_epochs=0),
        LearningCurves(figure_every_n_epochs=0),
        RunLog(),
        ResumableRandomness(),
        BestCheckpoint(monitor, cell.settings["mode"]) if monitor else LastCheckpoint(),
        *_decoding(cell),
    ]
    if not cell.compares_visits:  # a pair of visits is on no axis, and has no map
        own.insert(1, SeverityAxis(figure_every_n_epochs=0, keep_embeddings=False))  # the test makes them
    own += _speed(cell, parts)
    trainer = _trainer(cell.folder, parts, own, reload_dataloaders_every_n_epochs=1)
    resume = last_checkpoint(cell.folder)
    trainer.fit(parts.model, datamodule=parts.data, ckpt_path=resume, weights_only=True)
    checkpoint = cell.folder / "checkpoints" / (BEST if monitor else LAST)
    if not checkpoint.is_file():
        raise ValueError(
            f"no checkpoint was written: monitor {monitor!r} was never logged in validation; "
            "set `monitor` to a value in learning_curves.csv, or to null for the last epoch"
        )
    return checkpoint


def _speed(cell: Cell, parts: Parts) -> list[SpeedSetting]:
    """The callback of the cell's speed; what was tried before stays, that a resumed cell be the same."""
    tried = tried_before(cell.folder) if parts.speed == "auto" else None
    return [] if parts.speed == "none" else [SpeedSetting(tried or parts.speed)]


def _decoding(cell: Cell) -> list[GradeDecoding]:
    """The callback of the study's rule of decision, where it has one."""
    rule = cell.settings.get("decoding")
    return [] if rule is None else [GradeDecoding(build(rule, Decoding))]


def _test(cell: Cell, parts: Parts, checkpoint: Path, work: Path) -> None:
    parts.data.setup("test")
    own: list[L.Callback] = [OrdinalMetrics(), PredictionWriter(), RunLog(), *_decoding(cell)]
    own += _speed(cell, parts)
    if isinstance(parts.data, KneeMRIDataModule):
        own.insert(1, SeverityAxis())
        own += _saliency(cell, parts.model, test_knees(parts.data, cell.settings["knees"]))
    trainer = _trainer(work, parts, own, keep_logger=True)
    trainer.test(parts.model, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    training = evaluated_table(trainer, parts.model, "train")  # those that the axis was fitted on
    if training is not None and trainer.is_global_zero:
        for callback in _decoding(cell):
            training = Decoded(callback.decoding)(training)
        write_predictions(work / "train", training, rule_of(trainer))


def _saliency(cell: Cell, model: Any, shown: list[str]) -> list[L.Callback]:
    """Every method of the study for every head that supervises the encoder."""
    return [
        CartilageSaliency(
            head,
            method=method,
            randomised=True,
            figures=min(3, len(shown)),
            save_maps=shown,
            name=f"saliency/{method}-{head}",
        )
        for head in supervising_heads(model)
        for method in cell.settings["saliency"]
    ]


def _trainer(
    folder: Path, parts: Parts, own: list[L.Callback], *, keep_logger: bool = False, **arguments: Any
) -> L.Trainer:
    """The configured trainer with the study's callbacks, beside those of the configuration."""
    configured = dict(parts.trainer)
    fitting = bool(arguments)
    given = configured.pop("callbacks", None) or []
    given = given if isinstance(given, list) else [given]
    if not any(isinstance(callback, WandbRun) for callback in given):
        own = [*own, WandbRun()]
    kinds = tuple(type(callback) for callback in own)
    given = [callback for callback in given if fitting or isinstance(callback, WandbRun)]
    kept = [callback for callback in given if not isinstance(callback, (*kinds, ModelCheckpoint))]
    if not fitting:
        configured = {key: value for key, value in configured.items() if key not in _EVALUATION}
        configured["enable_checkpointing"] = False
        configured["logger"] = parts.trainer.get("logger") if keep_logger else False
    configured |= {"default_root_dir": str(folder), "callbacks": [*kept, *own], **arguments}
    for quiet in ("enable_progress_bar", "enable_model_summary"):
        if configured.get(quiet) is None:
            configured[quiet] = False
    return L.Trainer(**configured)


def supervising_heads(model: Any) -> list[str]:
    """Names of the heads that supervise the encoder."""
    return [name for name in model.heads if name not in model.probes]


def _publish(cell: Cell, work: Path, facts: Mapping[str, Any]) -> None:
    """Move what testing wrote into the cell, ``metrics.json`` last."""
    metrics: dict[str, Any] = json.loads((work / "metrics.json").read_text(encoding="utf-8"))
    metrics |= facts
    (work / "metrics.json").unlink()
    with (cell.folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write((work / "log.txt").read_text(encoding="utf-8"))
    (work / "log.txt").unlink()
    for path in sorted(work.iterdir()):
        target = cell.folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    work.rmdir()
    write_json(cell.folder / "metrics.json", metrics)


def _facts(parts: Parts, checkpoint: Path) -> Mapping[str, Any]:
    """What a methods section needs and no configuration says."""
    splits = parts.data.manifest.table["split"].value_counts()
    return {
        **epochs_and_steps(checkpoint),
        "parameters": sum(parameter.numel() for parameter in parts.model.encoder.parameters()),
        "spacing": [float(length) for length in parts.data.spacing],
        "split_knees": {str(name): int(count) for name, count in splits.items()},
    }
