"""A readable log of a run: one line an epoch, and every message of the library."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

import lightning as L
from typing_extensions import override

from oahier.callbacks.keys import run_directory

_SOURCES = ("oahier", "lightning.pytorch")
_log = logging.getLogger("oahier.run")


class RunLog(L.Callback):
    """Appends to ``log.txt`` in the run's folder; process zero only.

    Args:
        metrics: logged values that make up the line of an epoch, where they exist.
    """

    def __init__(
        self,
        metrics: tuple[str, ...] = ("train/loss", "val/loss", "val/kl/qwk", "val/kl/mae", "val/oa/auc"),
    ) -> None:
        super().__init__()
        self.metrics = tuple(metrics)
        self._handler: logging.Handler | None = None

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._handler is not None or not trainer.is_global_zero:
            return
        path = run_directory(trainer) / "log.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _LogFile(path, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for source in _SOURCES:
            logging.getLogger(source).addHandler(self._handler)
        logging.getLogger("oahier").setLevel(logging.INFO)
        _log.info("%s starts in %s", getattr(stage, "value", stage), path.parent)

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        line = summary_line(trainer.callback_metrics, self.metrics)  # reading may reduce over processes
        if trainer.is_global_zero:
            _log.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, line)

    @override
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            names = tuple("test/" + name.removeprefix("val/") for name in self.metrics if name[:4] == "val/")
            _log.info("test: %s", summary_line(trainer.callback_metrics, names))

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._close()

    def _close(self) -> None:
        if self._handler is None:
            return
        for source in _SOURCES:
            logging.getLogger(source).removeHandler(self._handler)
        self._handler.close()
        self._handler = None


class _LogFile(logging.FileHandler):
    """A log that is silent about a full disk: a file that matters ends the run in one line."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def summary_line(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """``name value`` pairs of the values that exist and are defined.

    >>> summary_line({"val/loss": 1.23456, "val/kl/qwk": float("nan")}, ("val/loss", "val/kl/qwk"))
    'val/loss 1.235'
    """
    known = ((name, float(values[name])) for name in names if name in values)
    return ", ".join(f"{name} {value:.4g}" for name, value in known if not math.isnan(value))
