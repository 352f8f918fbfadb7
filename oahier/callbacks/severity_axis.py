"""The severity axis of the latent space, each epoch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.axis_covariates import AxisCovariates, write_orders
from oahier.callbacks.axis_figure import axis_figure
from oahier.callbacks.evaluation_pass import evaluated_table, remember_loaders, weights_of
from oahier.callbacks.files import write_figure, write_rows
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.step_recorder import StepRecorder
from oahier.callbacks.training_steps import TrainingSteps
from oahier.gathering import EpochTable
from oahier.hierarchy import COARSE, FINE
from oahier.latent import (
    AxisDirection,
    EmbeddingReference,
    SeverityAxisFit,
    axis_chance,
    axis_measures,
    fit_severity_axis,
)
from oahier.latent.reference_file import read_reference, write_reference
from oahier.model.checkpoints import checkpoint_hash
from oahier.progress import portion
from oahier.types import MISSING

_log = logging.getLogger("oahier.severity_axis")
_COLUMNS = ("knee", "subject", "projection", "second", FINE, COARSE, "split")


class SeverityAxis(StepRecorder):
    """Fits an axis of severity on training embeddings and measures it on held-out ones.

    *The* axis, ``{stage}/axis/...``, is fitted on embeddings of the training knees in evaluation mode,
    without augmentation, as held-out knees are embedded. Those of a checkpoint are made once, by a pass over
    the training split, and kept beside it (:func:`oahier.latent.reference_file.reference_path`), with their
    labels but without their names: validation, test, prediction and studies read the same axis there. The
    file of the best checkpoint is made at the end of training; that of another one, when it is evaluated.

    Validations *during* training measure a free one, ``val/axis_online/...``, fitted on the embeddings that
    training steps made anyway, with augmentation, dropout and batch statistics as in training. A validation
    at the end of an epoch uses every training knee of that epoch; one in mid-epoch adds the knees that have
    not come yet as they were in the epoch before.

    Both log the metrics of :func:`oahier.latent.axis_metrics`, and write ``severity_axis.csv`` and
    ``pictures/severity_axis.png`` into the folder of the stage. Without training knees (a test without a
    data module, of a checkpoint without the file) they are NaN and a message says so.

    With ``covariates`` or ``repeats``, tests also measure the order inside each grade
    (:func:`~oahier.latent.order_within_grades`, ``severity_axis_order.csv``) and how many grades the axis can
    tell apart (:func:`~oahier.latent.discernible_grades`).

    Args:
        kind: how the axis is fitted (see :func:`oahier.latent.fit_severity_axis`), a name or a function.
        name: group of the logged values; give further axes another name, which is that of their files too.
        embed_every_epoch: embed the training split in evaluation mode at every validation, so that these
            measure the axis itself; costs a pass over the split. Needs a data module with
            ``evaluation_dataloader``.
        keep_embeddings: keep the embeddings beside checkpoints.
        figure_every_n_epochs: during training, draw in every n-th epoch and at the end; 0 draws none. Test
            figures are always drawn.
        covariates: columns of numbers in the manifest to compare the axis with inside each grade, such as
            ``medial_tibial_thickness_mm`` or the ``severity`` of phantoms.
        repeats: columns of the manifest whose equal cells mark scans of one knee between which nothing
            changed, such as ``["subject", "side"]`` where visits are rescans.
    """

    def __init__(
        self,
        kind: str | AxisDirection = "pca",
        *,
        name: str = "axis",
        embed_every_epoch: bool = False,
        keep_embeddings: bool = True,
        figure_every_n_epochs: int = 5,
        covariates: Sequence[str] = (),
        repeats: Sequence[str] = (),
    ) -> None:
        super().__init__(name=name, figure_every_n_epochs=figure_every_n_epochs)
        self.kind, self.columns = kind, AxisCovariates(covariates, repeats)
        self.embed_every_epoch = embed_every_epoch
        self.keep_embeddings = keep_embeddings
        self.fit: SeverityAxisFit | None = None
        self._steps = TrainingSteps()

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self.columns.check(trainer)
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and self.embed_every_epoch and not hasattr(data, "evaluation_dataloader"):
            raise ValueError(
                "SeverityAxis(embed_every_epoch=True): expected a data module with "
                f"evaluation_dataloader(split), as oahier.KneeMRIDataModule has, got {type(data).__name__}"
            )

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._steps.start()

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs is not None and not self.embed_every_epoch:  # a training step may skip its batch
            self._steps.add(outputs, batch)

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        online = trainer.state.fn == TrainerFn.FITTING and not self.embed_every_epoch
        train = self._steps.gather(trainer) if online else None
        if train is not None:
            self.fit = self._fitted(train) if len(train) else None
        else:
            self._fit_exactly(trainer, pl_module, table if stage == "val" else None)
        if len(table) == 0:
            return
        fit = self.fit or self._undefined(trainer, table)
        metrics = _metrics(fit, table)
        if trainer.state.fn != TrainerFn.FITTING:
            labels = table.labels(FINE), table.labels(COARSE)
            metrics |= axis_chance(fit, table["embedding"], *labels)
            measured, orders = self.columns.measured(trainer, fit, table)
            metrics |= measured
            if trainer.is_global_zero:
                write_orders(stage_directory(trainer, stage) / f"{self._file}_order.csv", orders)
        self.log_values(pl_module, stage, metrics, f"{self.name}_online" if online else self.name)
        self._write(trainer, stage, fit, {"train": train, stage: table}, metrics)

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Embed the training knees with the best checkpoint, keep them beside it, and measure its axis."""
        remember_loaders(trainer)
        best = Path(getattr(trainer.checkpoint_callback, "best_model_path", "") or ".")
        if not (self.keep_embeddings and best.is_file()):
            return
        with weights_of(best, pl_module):
            held_out = evaluated_table(trainer, pl_module, "val")
            train = evaluated_table(trainer, pl_module, "train")
        if train is None or held_out is None:
            return
        self._keep(trainer, best, train, held_out)
        self.fit = self._fitted(train)
        metrics = _metrics(self.fit, held_out)
        for logger in trainer.loggers if trainer.is_global_zero else ():
            named = {metric_key("val", self.name, name): value for name, value in metrics.items()}
            logger.log_metrics(named, step=trainer.global_step)
        self._write(trainer, "val", self.fit, {"train": train, "val": held_out}, metrics)

    def _fit_exactly(
        self, trainer: L.Trainer, pl_module: L.LightningModule, held_out: EpochTable | None
    ) -> None:
        """Fit on embeddings in evaluation mode: those beside the evaluated checkpoint, or new ones."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        checkpoint = None if fitting or not trainer.ckpt_path else Path(trainer.ckpt_path)
        kept = None
        if checkpoint is not None and trainer.is_global_zero and checkpoint.is_file():
            kept = read_reference(checkpoint, checkpoint_hash(checkpoint))
        kept = trainer.strategy.broadcast(kept)
        if kept is not None and kept.origin == "evaluation":
            self.fit = fit_severity_axis(kept.embeddings, kept.kl, kept.oa, kind=self.kind)
            return
        with portion(0, 0.8):
            train = evaluated_table(trainer, pl_module, "train")
        self.fit = None if train is None else self._fitted(train)
        if train is not None and checkpoint is not None and self.keep_embeddings:
            with portion(0.8, 1):
                held_out = held_out or evaluated_table(trainer, pl_module, "val")
            if held_out is not None:
                self._keep(trainer, checkpoint, train, held_out)

    def _keep(self, trainer: L.Trainer, checkpoint: Path, train: EpochTable, held_out: EpochTable) -> None:
        if not (trainer.is_global_zero and checkpoint.is_file()):
            return
        reference = EmbeddingReference.fit(
            train["embedding"],
            train.labels(FINE),
            train.labels(COARSE),
            held_out["embedding"],
            kind=self.kind,
        )
        try:
            write_reference(checkpoint, checkpoint_hash(checkpoint), reference)
        except OSError as error:
            _log.warning("SeverityAxis: embeddings are not kept beside %s: %s", checkpoint, error)

    def _fitted(self, train: EpochTable) -> SeverityAxisFit:
        return fit_severity_axis(train["embedding"], train.labels(FINE), train.labels(COARSE), kind=self.kind)

    def _undefined(self, trainer: L.Trainer, table: EpochTable) -> SeverityAxisFit:
        """An axis that is all NaN, with a message."""
        if trainer.is_global_zero:
            _log.warning(
                "SeverityAxis: no training knees to fit the axis on; its metrics are NaN. Give a data module "
                "with the training split, or a checkpoint with its .reference.pt beside it"
            )
        return fit_severity_axis(table["embedding"][:0], table.labels(FINE)[:0], kind=self.kind)

    @property
    def _file(self) -> str:
        return "severity_axis" if self.name == "axis" else f"severity_{self.name}"

    def _write(
        self,
        trainer: L.Trainer,
        stage: Stage,
        fit: SeverityAxisFit,
        tables: Mapping[str, EpochTable | None],
        metrics: Mapping[str, float],
    ) -> None:
        held_out = tables[stage]
        if not trainer.is_global_zero or held_out is None:
            return
        folder = stage_directory(trainer, stage)
        name = self._file
        known = {split: table for split, table in tables.items() if table is not None}
        rows = [row for split, table in known.items() for row in _rows(fit, table, split)]
        write_rows(folder / f"{name}.csv", _COLUMNS, rows)
        if bool(fit.direction.isnan().any()):
            return

        def draw() -> None:
            plane = torch.stack(
                [fit.project(held_out["embedding"]), fit.project_second(held_out["embedding"])]
            )
            title = f"Severity axis ({fit.kind}, fitted on {fit.knees} training knees), {stage}"
            figure = axis_figure(plane.numpy(), held_out.labels(FINE).numpy(), title, metrics)
            path = write_figure(folder / "pictures" / f"{name}.png", figure)
            log_picture(trainer, metric_key(stage, self.name, name), path)

        self.draw(trainer, draw)


def _metrics(fit: SeverityAxisFit, table: EpochTable) -> dict[str, float]:
    return axis_measures(fit, table["embedding"], table.labels(FINE), table.labels(COARSE))


def _rows(fit: SeverityAxisFit, table: EpochTable, split: str) -> list[tuple[object, ...]]:
    along = [project(table["embedding"]).tolist() for project in (fit.project, fit.project_second)]
    labels = [
        [None if label == MISSING else label for label in table.labels(column).tolist()]
        for column in (FINE, COARSE)
    ]
    return [(*values, split) for values in zip(table.knee, table.subject, *along, *labels, strict=True)]
