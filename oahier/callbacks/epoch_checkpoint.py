"""The checkpoint of the last finished epoch, from which an interrupted training goes on."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.atomic_checkpoints import AtomicCheckpointIO
from oahier.callbacks.keys import run_directory
from oahier.callbacks.run_folder import BEST, LAST, PREVIOUS, last_checkpoint, set_aside
from oahier.files import hold
from oahier.latent.reference_file import reference_path

_UNNAMED = ".last.ckpt"
"""The newest checkpoint until it gets its name, that of the last epoch when the fit has ended."""


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt``, the end of the last finished epoch, and ``previous.ckpt`` before it.

    An epoch that was interrupted is trained again from its start, and so is the last one if what follows it
    was, so that a resumed training ends with the weights and files of one that was not, bit by bit. Both
    files are whole or not there; :func:`~oahier.callbacks.last_checkpoint` finds the one to go on from, as
    ``ckpt_path="last"`` does. With the first checkpoint of a training that starts anew, those of an earlier
    one in the same folder are removed; test results there are moved to ``earlier-1/``.

    For trainings whose last epoch counts; :class:`~oahier.callbacks.BestCheckpoint` keeps these files too.

    Raises:
        ValueError: another process trains in the same folder.
    """

    def __init__(self, *, filename: str | None = "last", save_top_k: int = 0, **options: Any) -> None:
        super().__init__(
            filename=filename,
            save_top_k=save_top_k,
            **options,
            save_last=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._held = contextlib.ExitStack()
        self._saved = False
        self._due: dict[int, float] = {}

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.dirpath is None:
            self.dirpath = str(run_directory(trainer) / "checkpoints")
        with warnings.catch_warnings():  # replacing files is what this class is for
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if stage == "fit" and trainer.is_global_zero and not _only_tries(trainer):
            self._held.close()
            if not self._held.enter_context(hold(self._folder / ".lock")):
                raise ValueError(
                    f"{self._folder}: another process trains into this folder now; wait for it, or give "
                    "this training another trainer.default_root_dir"
                )

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved = False
        self._remove(trainer, _UNNAMED)
        if not trainer.ckpt_path and trainer.global_step == 0:
            self._remove(trainer, LAST, PREVIOUS)  # or the next resume would go on with another training
        for index, value in self._due.items():
            scheduler: Any = trainer.lr_scheduler_configs[index].scheduler
            scheduler.step(value)
        self._due = {}

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._name(trainer)  # of a stop that ``min_epochs`` put off

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._name(trainer)

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._due = _due_after(trainer)
        self._save(trainer, pl_module)
        self._due = {}

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if _only_tries(trainer) or trainer.state.fn != TrainerFn.FITTING:
            return
        self._before_saving(trainer)
        last = self._folder / LAST
        if trainer.is_global_zero and last.is_file():
            _keep(last, self._folder / PREVIOUS)
        self.last_model_path = str(last)
        trainer.save_checkpoint(self._folder / _UNNAMED, self.save_weights_only)
        if not _ends(trainer):
            self._name(trainer)

    def _name(self, trainer: L.Trainer) -> None:
        """Make the newest checkpoint the one to go on from."""
        newest = self._folder / _UNNAMED
        if trainer.is_global_zero and newest.exists():
            os.replace(newest, self._folder / LAST)

    def _before_saving(self, trainer: L.Trainer) -> None:
        """Put away what belongs to other weights, before the first checkpoint of a training."""
        if self._saved:
            return
        self._saved = True
        if trainer.current_epoch == 0 and not trainer.ckpt_path:
            self._remove(trainer, BEST, reference_path(Path(BEST)).name)
        if trainer.is_global_zero:
            set_aside(trainer)

    def _remove(self, trainer: L.Trainer, *names: str) -> None:
        for name in names if trainer.is_global_zero and not _only_tries(trainer) else ():
            (self._folder / name).unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return Path(self.dirpath or ".")

    @override
    def _find_last_checkpoints(self, trainer: L.Trainer) -> set[str]:
        """For ``ckpt_path="last"``."""
        found = last_checkpoint(self.dirpath or run_directory(trainer))
        return set() if found is None else {str(found)}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "due": dict(self._due)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._due = dict(state_dict.get("due", {}))

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._held.close()

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._held.close()


def _due_after(trainer: L.Trainer) -> dict[int, float]:
    """Values by which Lightning steps schedules that wait for a plateau, after checkpoints are written."""
    return {
        index: float(trainer.callback_metrics[config.monitor])
        for index, config in enumerate(trainer.lr_scheduler_configs)
        if config.reduce_on_plateau
        and config.interval == "epoch"
        and (trainer.current_epoch + 1) % config.frequency == 0
        and config.monitor in trainer.callback_metrics
    }


def _ends(trainer: L.Trainer) -> bool:
    """True in the last epoch of a training."""
    most, steps = trainer.max_epochs, trainer.max_steps
    by_epochs = most is not None and 0 <= most <= trainer.current_epoch + 1
    return trainer.should_stop or by_epochs or 0 <= steps <= trainer.global_step


def _keep(path: Path, other: Path) -> None:
    """Give a file a second name; where the disk knows none, move it."""
    temporary = other.with_name(f".{other.name}")
    try:
        temporary.unlink(missing_ok=True)
        os.link(path, temporary)
        os.replace(temporary, other)
    except OSError:
        os.replace(path, other)


def _only_tries(trainer: L.Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
