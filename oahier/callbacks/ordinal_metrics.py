"""Metrics of every head on held-out knees, each epoch, with their figures and ``metrics.json``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.files import write_figure, write_json
from oahier.callbacks.grade_decoding import rule_of
from oahier.callbacks.head_predictions import HeadTable, head_tables, hierarchy_groups
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochTable, gathering_of
from oahier.metrics import Metric
from oahier.metrics.registry import with_metrics
from oahier.model.checkpoints import checkpoint_hash, epochs_and_steps

_log = logging.getLogger("oahier.ordinal_metrics")

_IN_THE_BAR = ("/qwk", "/auc")
"""Ends of the keys of validation that progress bars show."""


class OrdinalMetrics(StepRecorder):
    """Metrics of each head on the validation and the test split.

    Logs ``{stage}/{head}/{metric}`` with the metrics of :func:`oahier.metrics.ordinal_metrics` or, for two
    classes, :func:`oahier.metrics.binary_metrics`, and ``knees``, the number of labelled knees. A KL head
    also gets the metrics of the OA probability that its grades imply, as ``oa_auc`` and so on. Where there
    is an OA and a KL head, ``{stage}/hierarchy/{metric}`` says how far they agree. Every knee counts once, a
    knee without a label not at all; what is undefined is NaN, and a log message says so.

    Writes ``metrics.json`` last of all files of a stage: every value logged in it, also by other callbacks,
    and outside training 95 % intervals and name and SHA-256 of the checkpoint that was evaluated. Draws
    ``pictures/{head}_confusion_matrix.png`` and ``pictures/{head}_reliability.png``.

    Args:
        figure_every_n_epochs: during training, draw in every n-th epoch and at the end (pictures cost more
            time than everything else here); 0 draws none. Test pictures are always drawn.
        metrics: further metrics, beside those of :func:`oahier.metrics.registered`.

    Raises:
        ValueError: ``figure_every_n_epochs`` is negative; two metrics of one kind, or a head and a group of
            the hierarchy, share a name; probabilities or labels that are none; several dataloaders.
        TypeError: ``metrics`` holds something else, or the steps do not return a
            :class:`~oahier.types.StepOutput`.
    """

    def __init__(self, figure_every_n_epochs: int = 5, metrics: Sequence[Metric] = ()) -> None:
        super().__init__()
        if figure_every_n_epochs < 0:
            raise ValueError(
                f"OrdinalMetrics: figure_every_n_epochs must be 0 or more, got {figure_every_n_epochs}"
            )
        self.figure_every_n_epochs = figure_every_n_epochs
        self._metrics = with_metrics(metrics)
        self._heads: list[HeadTable] = []
        self._undrawn = False
        self._counts = {"knees": 0, "subjects": 0}
        self._weights: dict[str, Any] = {}
        self._told: dict[str, str] = {}

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        if stage == "predict":
            return
        self._heads = head_tables(pl_module, table)
        self._counts = {"knees": len(table), "subjects": len(set(table.subject))}
        groups = {head.name: head.metrics(self._metrics) for head in self._heads}
        groups |= hierarchy_groups(self._heads, self._metrics)
        values = {
            metric_key(stage, group, name): value
            for group, found in groups.items()
            for name, value in found.items()
        }
        shown = {
            key for key in values if stage == "val" and key.count("/") == 2 and key.endswith(_IN_THE_BAR)
        }
        for bar in (False, True):
            logged = {key: value for key, value in values.items() if (key in shown) is bar}
            pl_module.log_dict(logged, sync_dist=trainer.world_size > 1, batch_size=1, prog_bar=bar)
        if trainer.is_global_zero:
            for head in self._heads:
                self._tell_undefined(metric_key(stage, head.name), head, groups[head.name])
        self._undrawn = True
        if self._draws_now(trainer):
            self._draw(trainer, stage)

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._weights = _evaluated_weights(trainer)

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._weights = _evaluated_weights(trainer)

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._write(trainer, "val")

    @override
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer, "test")

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._undrawn and self.figure_every_n_epochs:
            self._draw(trainer, "val")

    def _draws_now(self, trainer: L.Trainer) -> bool:
        if trainer.state.fn != TrainerFn.FITTING:
            return True
        return self.figure_every_n_epochs > 0 and trainer.current_epoch % self.figure_every_n_epochs == 0

    def _draw(self, trainer: L.Trainer, stage: Stage) -> None:
        self._undrawn = False
        if not trainer.is_global_zero:
            return
        for head in self._heads:
            for kind, figure in head.pictures(stage).items():
                path = stage_directory(trainer, stage) / "pictures" / f"{head.name}_{kind}.png"
                log_picture(trainer, metric_key(stage, head.name, kind), write_figure(path, figure))

    def _write(self, trainer: L.Trainer, stage: Stage) -> None:
        logged = trainer.callback_metrics  # on every process: reading may reduce over them
        if not trainer.is_global_zero:
            return
        content: dict[str, Any] = {
            "stage": stage,
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            **self._counts,
            "metrics": {
                name: float(value) for name, value in sorted(logged.items()) if name.startswith(f"{stage}/")
            },
        }
        if trainer.state.fn != TrainerFn.FITTING:
            content |= self._weights
            decided = getattr(gathering_of(trainer).calibrated, "decided", [])
            content |= {"decisions": decided} if decided else {}
            if any(head.probabilities.shape[1] > 2 for head in self._heads):
                content["decoding"] = rule_of(trainer).describe()
            content["intervals"] = {
                metric_key(stage, head.name, name): interval
                for head in self._heads
                for name, interval in head.intervals(self._metrics).items()
            }
        write_json(stage_directory(trainer, stage) / "metrics.json", content)

    def _tell_undefined(self, key: str, head: HeadTable, found: Mapping[str, float]) -> None:
        """One message when the set of undefined metrics, or its cause, changes."""
        undefined = [name for name, value in found.items() if math.isnan(value)]
        message = f"undefined (NaN): {', '.join(undefined)}; {head.describe()}" if undefined else ""
        if message and message != self._told.get(key):
            _log.warning("%s: %s", key, message)
        self._told[key] = message


def _evaluated_weights(trainer: L.Trainer) -> dict[str, Any]:
    """File that the weights come from, just loaded, and epochs and steps of their training, where known.

    Only the process that writes looks, once an evaluation; training has no file that its weights are in.
    """
    known: dict[str, Any] = {"epoch": None, "step": None, "checkpoint": None}
    if trainer.state.fn == TrainerFn.FITTING or not trainer.is_global_zero or not trainer.ckpt_path:
        return known
    path = Path(trainer.ckpt_path)
    if not path.is_file():
        return known
    file = {"name": path.name, "sha256": checkpoint_hash(path)}
    return {**known, **epochs_and_steps(path), "checkpoint": file}
