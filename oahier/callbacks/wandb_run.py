"""Contents of a run at Weights & Biases: configuration, rates, predictions, intervals, and files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.grade_decoding import rule_of
from oahier.callbacks.keys import Stage, run_directory, stage_directory
from oahier.callbacks.prediction_writer import prediction_columns
from oahier.callbacks.run_folder import BEST, LAST
from oahier.callbacks.run_setting import setting_of
from oahier.callbacks.step_recorder import StepRecorder
from oahier.files import csv_text
from oahier.gathering import EpochTable
from oahier.model.checkpoints import without_people
from oahier.types import StepOutput

_WHO = ("knee", "subject")


def private_settings() -> dict[str, Any]:
    """Settings of ``wandb.init`` under which neither the command line nor what is printed is sent.

    Both name files, and files are often named after people.
    """
    return {"x_disable_machine_info": True, "console": "off"}


def keep_private(loggers: object) -> None:
    """Give loggers of Weights & Biases :func:`private_settings`, unless they were given some."""
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, WandbLogger):
            logger._wandb_init["settings"] = logger._wandb_init.get("settings") or private_settings()


class WandbRun(StepRecorder):
    """Completes the Weights & Biases run of a training and of its test.

    The configuration gets the data (preprocessing, batch size, counts of each split, SHA-256 of the
    manifest), seed, trainer and versions; training logs ``lr``, or ``lr/{group}``. An evaluation adds a table
    ``{stage}/predictions`` of its knees with a slice of each, a table ``{stage}/metrics`` with 95 %
    intervals, and the intervals in the run's summary. Artifacts are ``model`` (the best checkpoint) and
    ``predictions``.

    Nothing that is sent names a knee, a subject or a file, unless ``subjects=True``: predictions have the row
    that they have in ``predictions.csv``, the checkpoint lacks the splits. The command line adds this
    callback where the trainer has a ``WandbLogger``; without one it does nothing. In Python, give the logger
    ``settings=private_settings()``.

    Args:
        subjects: send the ids of knees and subjects with predictions, and checkpoints whole.
        thumbnails: at most so many knees have a picture (the middle sagittal slice); 0 for none.
        artifacts: send the checkpoint and the predictions as artifacts.

    Raises:
        ValueError: a negative number of thumbnails.
    """

    def __init__(self, *, subjects: bool = False, thumbnails: int = 100, artifacts: bool = True) -> None:
        super().__init__(figure_every_n_epochs=0)
        if thumbnails < 0:
            raise ValueError(f"WandbRun: thumbnails: expected 0 or more, got {thumbnails}")
        self.subjects, self.thumbnails, self.artifacts = subjects, thumbnails, artifacts
        self._slices: dict[str, npt.NDArray[np.uint8]] = {}
        self._rates: dict[str, float] = {}

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._slices, self._rates = {}, {}

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Describe the training, once all callbacks are set up: one of them may have set the precision."""
        self._describe(trainer)

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Describe an evaluation by its stage."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._describe(trainer)

    on_test_start = on_predict_start = on_validation_start

    @override
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the rates where they changed, as often as the trainer logs."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % max(every, 1) and batch_idx:
            return
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        names = [f"lr/{group.get('name', number)}" for number, group in enumerate(groups)]
        names = ["lr"] if len(groups) == 1 else names
        rates = {name: float(group["lr"]) for name, group in zip(names, groups, strict=True)}
        if rates != self._rates:
            self._rates = rates
            for logger in _loggers(trainer):
                logger.log_metrics(rates, trainer.global_step)

    @override
    def collect(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        if trainer.state.fn != TrainerFn.FITTING and _loggers(trainer):
            for knee, volume in zip(output["knee"], batch["mri"], strict=True):
                if len(self._slices) < self.thumbnails:
                    self._slices[knee] = middle_slice(volume[0])
        return {}

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING or stage == "predict":
            return
        for run in _runs(trainer):
            columns = pd.DataFrame(prediction_columns(table, rule_of(trainer)))
            self._send_predictions(run, stage, columns)

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Send what other callbacks have written by now."""
        for run in _runs(trainer):
            if stage == "fit" and self.artifacts:
                self._send_checkpoint(run, run_directory(trainer) / "checkpoints")
            elif stage in ("validate", "test"):
                written = stage_directory(trainer, "test" if stage == "test" else "val") / "metrics.json"
                if written.is_file():
                    _send_intervals(run, json.loads(written.read_text(encoding="utf-8")))
        self._slices = {}

    def _describe(self, trainer: L.Trainer) -> None:
        for run in _runs(trainer):
            stage, setting = trainer.state.fn or TrainerFn.FITTING, setting_of(trainer)
            described = setting if stage == TrainerFn.FITTING else {stage.value: setting}
            run.config.update(described, allow_val_change=True)

    def _send_predictions(self, run: Any, stage: Stage, columns: pd.DataFrame) -> None:
        import wandb

        pictures = [self._slices.get(knee) for knee in columns["knee"]]
        shown = columns if self.subjects else columns.drop(columns=list(_WHO))
        shown = shown.astype(object).where(shown.notna(), None)
        table = wandb.Table(
            columns=["row", "slice", *shown.columns],
            data=[
                [row + 1, None if picture is None else wandb.Image(picture), *values]
                for row, (picture, values) in enumerate(zip(pictures, shown.values.tolist(), strict=True))
            ],
        )
        run.log({f"{stage}/predictions": table})
        if self.artifacts:
            artifact = wandb.Artifact(f"{run.id}-{stage}-predictions", type="predictions")
            with artifact.new_file("predictions.csv", encoding="utf-8") as stream:
                stream.write(csv_text(list(shown), shown.values.tolist()))
            run.log_artifact(artifact)

    def _send_checkpoint(self, run: Any, folder: Path) -> None:
        import wandb

        found = [folder / name for name in (BEST, LAST) if (folder / name).is_file()]
        if not found:
            return
        artifact = wandb.Artifact(f"{run.id}-model", type="model")
        with tempfile.TemporaryDirectory() as name:
            shared = Path(name) / found[0].name
            if self.subjects:
                shared = found[0]
            else:
                torch.save(without_people(found[0]), shared)
            artifact.add_file(str(shared), name=found[0].name)
        run.log_artifact(artifact)


def middle_slice(volume: Tensor) -> npt.NDArray[np.uint8]:
    """The middle sagittal slice of a volume ``(i, j, k)``: superior up, anterior at the left, 0 to 255."""
    plane = volume[volume.shape[0] // 2].float().T.flip(0, 1).cpu()
    low, high = plane.min(), plane.max()
    grey: npt.NDArray[np.uint8] = ((plane - low) / (high - low).clamp(min=1e-6) * 255).byte().numpy()
    return grey


def _send_intervals(run: Any, content: Mapping[str, Any]) -> None:
    import wandb

    intervals = content.get("intervals", {})
    rows: list[Any] = [
        [key, value, *intervals.get(key, (None, None))] for key, value in content["metrics"].items()
    ]
    stage = content["stage"]
    run.log({f"{stage}/metrics": wandb.Table(["metric", "value", "low", "high"], data=rows)})
    bounds = {key: (low, high) for key, (low, high) in intervals.items() if low is not None}
    run.summary.update({f"{key}_low": low for key, (low, _) in bounds.items()})
    run.summary.update({f"{key}_high": high for key, (_, high) in bounds.items()})


def _loggers(trainer: L.Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _runs(trainer: L.Trainer) -> list[Any]:
    """The runs, on the first process only: others have none."""
    return [logger.experiment for logger in _loggers(trainer)] if trainer.is_global_zero else []
