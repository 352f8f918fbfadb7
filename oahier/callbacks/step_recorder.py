"""Base class of callbacks that read a table of the knees at the end of an evaluation epoch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.instrument_bar import instrument_bar_of
from oahier.callbacks.keys import Stage, metric_key, stage_of
from oahier.gathering import EpochTable, as_step_output, gathering_of
from oahier.types import StepOutput


class StepRecorder(L.Callback, ABC):
    """Hands over one table at the end of each validation, test and prediction epoch.

    A subclass says in :meth:`finish` what to do with the table, and in :meth:`collect` which columns it needs
    beside the common ones (:meth:`oahier.gathering.EpochGathering.add`): they are gathered once for all
    callbacks. The sanity check before training is left out. Training steps are not collected.

    Args:
        name: of what is logged and written, so that several callbacks can stand side by side; the name of
            the class if not given.
        figure_every_n_epochs: during training, draw in every n-th epoch and at the end; 0 draws none. Test
            and prediction figures are always drawn.

    Raises:
        ValueError: ``figure_every_n_epochs`` is negative; in training, two callbacks of one name, a callback
            with the name of a head, or a stage with several dataloaders.
    """

    def __init__(self, *, name: str = "", figure_every_n_epochs: int = 5) -> None:
        super().__init__()
        self.name = name or type(self).__name__
        if figure_every_n_epochs < 0:
            raise ValueError(
                f"{type(self).__name__}: figure_every_n_epochs must be 0 or more, got {figure_every_n_epochs}"
            )
        self.figure_every_n_epochs = figure_every_n_epochs
        self._waiting: Callable[[], None] | None = None
        self.told = ""
        """What it found in the stage before, in a sentence, for who prints results."""
        self.seconds = 0.0
        """Time that it took in that stage."""

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}()" if self.name == kind else f"{kind}({self.name!r})"

    def collect(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """Further columns of a batch, one row a knee; by default none.

        If some batches yield columns and others none, the table has the knees of the former.
        """
        return {}

    @abstractmethod
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        """Use the epoch's table, which is the same on every process; called on every process."""

    def log_values(
        self, pl_module: L.LightningModule, stage: Stage, values: Mapping[str, float], group: str = ""
    ) -> None:
        """Log values of an epoch, equal on every process, as ``{stage}/{name}/...``; prediction logs none.

        Args:
            pl_module: the model.
            stage: that runs.
            values: by metric.
            group: instead of the callback's name.
        """
        if stage != "predict":
            group = group or self.name
            logged = {metric_key(stage, group, name): float(value) for name, value in values.items()}
            pl_module.log_dict(logged, sync_dist=pl_module.trainer.world_size > 1, batch_size=1)

    def draw(self, trainer: L.Trainer, draw: Callable[[], None]) -> None:
        """Draw now if this epoch has figures; what was not drawn is drawn when training ends."""
        every = self.figure_every_n_epochs
        if trainer.state.fn != TrainerFn.FITTING or (every > 0 and trainer.current_epoch % every == 0):
            self._waiting = None
            draw()
        elif every > 0:
            self._waiting = draw

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse names that two writers would share."""
        everyone = recorders_of(trainer)
        for other in everyone:
            if other is not self and other.name == self.name:
                kinds = [type(callback).__name__ for callback in everyone if callback in (self, other)]
                raise ValueError(
                    f"Trainer(callbacks=...): {kinds[0]} and {kinds[1]} share the name {self.name!r}, so one "
                    f"would overwrite the other's values and files; give one of them another name=..."
                )
        if self.name in getattr(pl_module, "heads", ()):
            raise ValueError(
                f"{type(self).__name__}: name {self.name!r} is that of a head of the model, so their values "
                "would share one key; give the callback another name=..."
            )

    @override
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        gathering_of(trainer).start(trainer, type(self).__name__)
        instrument_bar_of(trainer).start()
        self.told, self.seconds = "", 0.0

    @override
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking:
            return
        output, gathering = as_step_output(outputs, type(self).__name__), gathering_of(trainer)
        gathering.add(batch_idx, output, batch)
        columns: Mapping[str, Tensor] = {}
        if self._looks_at_batches:
            looking = [one for one in recorders_of(trainer) if one._looks_at_batches]
            with instrument_bar_of(trainer).batch(trainer, looking, self, batch_idx), self._timed():
                columns = self.collect(trainer, pl_module, output, batch)
        if columns:
            gathering.add_columns(self.name, output, columns)

    @override
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            table = gathering_of(trainer).table(trainer, self.name)
            with instrument_bar_of(trainer).end(trainer, recorders_of(trainer), self), self._timed():
                self.finish(trainer, pl_module, stage_of(trainer), table)

    @property
    def _looks_at_batches(self) -> bool:
        return type(self).collect is not StepRecorder.collect

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - start

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Take the line below the progress bar away, that a message does not begin in it."""
        instrument_bar_of(trainer).close()

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._waiting is not None:
            self._waiting()
        self._waiting = None


def recorders_of(trainer: L.Trainer) -> list[StepRecorder]:
    """Those among the callbacks, in the order in which they work."""
    everyone: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in everyone if isinstance(callback, StepRecorder)]
