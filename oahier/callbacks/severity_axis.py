"""The severity axis of the latent space, each epoch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.files import write_figure, write_rows
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochRecords, EpochTable, as_step_output, common_columns
from oahier.latent import AxisKind, SeverityAxisFit, axis_measures, fit_severity_axis
from oahier.latent.training_knees import EmbeddingReference
from oahier.types import MISSING

_log = logging.getLogger("oahier.severity_axis")
_COLUMNS = ("knee", "subject", "projection", "second", "kl", "oa", "split")


class SeverityAxis(StepRecorder):
    """Fits an axis of severity on training embeddings and measures it on held-out ones.

    The embeddings are those that training steps made anyway, with augmentation, dropout and batch
    statistics as in training: the encoder is not run again. Held-out coordinates may therefore lie off
    those of training knees while batch normalisation has not settled; the measures depend on order and
    distances among held-out knees only. A validation at the end of an epoch uses
    every training knee of that epoch; one in mid-epoch adds the knees that have not come yet as they
    were in the epoch before.

    Logs ``{stage}/axis/...`` (see :func:`oahier.latent.axis_metrics`), writes ``severity_axis.csv`` and
    ``pictures/severity_axis.png`` into the folder of the stage. The fit is kept in checkpoints: testing
    with ``ckpt_path`` uses the axis of that checkpoint, testing right after training the latest one.
    Without either the measures are NaN and a message says so.

    The embeddings themselves are kept in checkpoints too, of training and of validation knees, with their
    labels but without their names: ``oahier predict`` places a new knee among them.

    Args:
        kind: how the axis is fitted (see :func:`oahier.latent.fit_severity_axis`).
        picture_every_n_epochs: during training, draw in every n-th epoch and at the end; 0 draws none. Test
            pictures are always drawn.
        keep_embeddings: keep the embeddings in checkpoints.
    """

    def __init__(
        self, kind: AxisKind = "pca", *, picture_every_n_epochs: int = 5, keep_embeddings: bool = True
    ) -> None:
        super().__init__(name="axis", figure_every_n_epochs=picture_every_n_epochs)
        self.kind: AxisKind = kind
        self.keep_embeddings = keep_embeddings
        self.fit: SeverityAxisFit | None = None
        self.reference: EmbeddingReference | None = None
        self._current = EpochRecords()
        self._previous = EpochRecords()
        self._restored = False

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._restored = False  # Lightning loads callback states after this, for every kind of run

    @override
    def state_dict(self) -> dict[str, Any]:
        kept = {"fit": self.fit, "reference": self.reference}
        return {name: value.state() for name, value in kept.items() if value is not None}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.fit = SeverityAxisFit.from_state(state_dict["fit"]) if "fit" in state_dict else None
        kept = state_dict.get("reference")
        self.reference = None if kept is None else EmbeddingReference.from_state(kept)
        self._restored = True

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._previous, self._current = self._current, EpochRecords()

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs is not None:  # a training step may skip its batch
            output = as_step_output(outputs, type(self).__name__)
            columns = {
                name: column
                for name, column in common_columns(output, batch).items()
                if name == "embedding" or name.startswith("batch/")
            }
            self._current.add(knee=output["knee"], subject=output["subject"], **columns)

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        train = self._refit(trainer) if trainer.state.fn == TrainerFn.FITTING else None
        if len(table) == 0:
            return
        fit = self._axis_for(trainer, table)
        if train is not None and self.keep_embeddings:
            self.reference = EmbeddingReference.fit(
                train["embedding"], train.labels("kl"), train.labels("oa"), table["embedding"], axis=fit,
                origin="training steps",
            )  # fmt: skip
        measures = axis_measures(fit, table["embedding"], table.labels("kl"), table.labels("oa"))
        self.log_values(pl_module, stage, measures)
        if trainer.is_global_zero:
            self._write(trainer, stage, fit, {"train": train, stage: table}, measures)

    def _refit(self, trainer: L.Trainer) -> EpochTable | None:
        """Fit on the training knees of this epoch; called on every process."""
        table = self._current.gather(trainer)
        if not trainer.is_last_batch:
            table = _newest(self._previous.gather(trainer), table)
        if len(table) == 0:
            return None
        self.fit = fit_severity_axis(
            table["embedding"], table.labels("kl"), table.labels("oa"), kind=self.kind
        )
        return table

    def _axis_for(self, trainer: L.Trainer, table: EpochTable) -> SeverityAxisFit:
        """The axis to measure; an undefined one, with a message, when there is none for this model."""
        evaluating = trainer.state.fn != TrainerFn.FITTING
        fit = None if evaluating and trainer.ckpt_path and not self._restored else self.fit
        if fit is not None:
            return fit
        if trainer.is_global_zero:
            _log.warning(
                "SeverityAxis: no axis was fitted on training knees (none in the checkpoint, no training in "
                "this process); its measures are NaN. Give ckpt_path of a run that had SeverityAxis"
            )
        embeddings, grades = table["embedding"][:0], table.labels("kl")[:0]
        return fit_severity_axis(embeddings, grades, kind=self.kind)

    def _write(
        self,
        trainer: L.Trainer,
        stage: Stage,
        fit: SeverityAxisFit,
        tables: Mapping[str, EpochTable | None],
        measures: Mapping[str, float],
    ) -> None:
        folder = stage_directory(trainer, stage)
        rows = [
            row for split, table in tables.items() if table is not None for row in _rows(fit, table, split)
        ]
        write_rows(folder / "severity_axis.csv", _COLUMNS, rows)
        held_out = tables[stage]
        if held_out is None or bool(fit.direction.isnan().any()):
            return

        def draw() -> None:
            from oahier.callbacks.axis_figure import axis_picture

            plane = torch.stack(
                [fit.project(held_out["embedding"]), fit.project_second(held_out["embedding"])]
            )
            title = f"Severity axis ({fit.kind}, fitted on {fit.knees} training knees), {stage}"
            figure = axis_picture(plane.numpy(), held_out.labels("kl").numpy(), title, measures)
            path = write_figure(folder / "pictures" / "severity_axis.png", figure)
            log_picture(trainer, metric_key(stage, "axis", "severity_axis"), path)

        self.draw(trainer, draw)


def _newest(older: EpochTable, newer: EpochTable) -> EpochTable:
    """Rows of both; a knee that is in both counts as in the newer one."""
    if len(older) == 0 or len(newer) == 0:
        return newer if len(newer) else older
    known = set(newer.knee)
    rows = [row for row, knee in enumerate(older.knee) if knee not in known]
    both = EpochRecords()
    for table, keep in ((older, rows), (newer, list(range(len(newer))))):
        columns: dict[str, Tensor] = {name: table[name][keep] for name in table}
        knee, subject = ([names[row] for row in keep] for names in (table.knee, table.subject))
        both.add(knee=knee, subject=subject, **columns)
    return both.gather()


def _rows(fit: SeverityAxisFit, table: EpochTable, split: str) -> list[tuple[object, ...]]:
    first, second = fit.project(table["embedding"]).tolist(), fit.project_second(table["embedding"]).tolist()
    labels = [
        [None if label == MISSING else label for label in table.labels(column).tolist()]
        for column in ("kl", "oa")
    ]
    return [
        (*values, split) for values in zip(table.knee, table.subject, first, second, *labels, strict=True)
    ]
