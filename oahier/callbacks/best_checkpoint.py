"""The checkpoint of the best epoch, where the other files of the run are."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.epoch_checkpoint import LastCheckpoint
from oahier.keys import metric_key
from oahier.specs.errors import nearest

_log = logging.getLogger(__name__)


class BestCheckpoint(LastCheckpoint):
    """Keeps ``checkpoints/best.ckpt``, and ``last.ckpt`` and ``previous.ckpt`` of :class:`LastCheckpoint`.

    The best epoch is chosen on the validation split; the test split is not looked at. Of epochs with the same
    value, as kappa often has with few knees, the one with the lower ``val/loss`` is better, and then the
    earlier one. An epoch in which the value is NaN is never the best.

    Args:
        monitor: logged value to choose by, e.g. ``"val/kl/qwk"`` or ``"val/loss"``.
        mode: whether a larger (``"max"``) or a smaller (``"min"``) value is better.

    Raises:
        ValueError: after the first validation, if it logs no such value; at the end of a fit in which the
            value was NaN in every epoch.
    """

    def __init__(self, monitor: str = "val/kl/qwk", mode: Literal["min", "max"] = "max") -> None:
        super().__init__(monitor=monitor, mode=mode, filename="best", save_top_k=1)
        self._undefined: list[int] = []
        self._loss_of_best = math.nan

    @override
    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        if current is not None and math.isnan(current):
            if not self._undefined:
                _log.warning("%s", self._complaint(trainer, f"is NaN in epoch {trainer.current_epoch + 1}"))
            self._undefined.append(trainer.current_epoch)
            return False
        loss = float(trainer.callback_metrics.get(metric_key("val", "loss"), math.nan))
        better = super().check_monitor_top_k(trainer, current)
        if not better and current is not None and self.best_model_score is not None:
            better = float(current) == float(self.best_model_score) and loss < self._loss_of_best
        if better:
            self._loss_of_best = loss
            self._before_saving(trainer)
        return better

    @override
    def _save_topk_checkpoint(self, trainer: L.Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        try:
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        except MisconfigurationException as error:
            if self.monitor is None or self.monitor in monitor_candidates:
                raise
            logged = sorted(name for name in monitor_candidates if name.startswith("val/"))
            raise ValueError(
                f"BestCheckpoint: monitor: validation logs no {self.monitor!r}."
                f"{nearest(self.monitor, logged)} It logs {', '.join(logged)}"
            ) from error

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_fit_end(trainer, pl_module)
        if self._undefined and not self.best_model_path:
            raise ValueError(
                f"{self._complaint(trainer, 'was NaN in every epoch, so that none is the best')}. The last "
                f"epoch is in {self.last_model_path}"
            )

    def _complaint(self, trainer: L.Trainer, what: str) -> str:
        values = trainer.callback_metrics
        finite = sorted(name for name in values if name.startswith("val/") and math.isfinite(values[name]))
        return (
            f"BestCheckpoint: {self.monitor} {what}: a metric is NaN where the validation knees do not "
            "define it (a grade or class without knees, a head without labels) or the loss has diverged. "
            f"Monitor a value that is defined ({', '.join(finite) or 'none is'}), or give the validation "
            "split such knees"
        )

    @override
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "loss_of_best": self._loss_of_best}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._loss_of_best = float(state_dict.get("loss_of_best", math.nan))
