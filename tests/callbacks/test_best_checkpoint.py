from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from oahier.callbacks import BestCheckpoint
from oahier.testing import tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


class Scores(L.Callback):
    """Logs given values, one an epoch."""

    def __init__(self, values: list[float], losses: list[float] | None = None) -> None:
        self.values, self.losses = values, losses

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.log("val/score", self.values[trainer.current_epoch])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.losses:
            trainer.callback_metrics["val/loss"] = torch.tensor(self.losses[trainer.current_epoch])


def _fit(folder: Path, values: list[float], losses: list[float] | None = None, **options: Any) -> Any:
    best = BestCheckpoint("val/score", "max")
    trainer = tiny_trainer(
        folder,
        max_epochs=len(values),
        callbacks=[Scores(values, losses), best],
        enable_checkpointing=True,
        **options,
    )
    data = tiny_dataloader(tiny_batches(1))
    trainer.fit(tiny_model(), data, data)
    return best


def _epoch(path: Path | str) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


def test_nan_in_every_epoch_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    message = (
        r"val/score was NaN in every epoch.*\(val/kl/loss.*val/loss.*\).*The last epoch is in .*last\.ckpt"
    )
    with caplog.at_level(logging.WARNING, logger="oahier"), pytest.raises(ValueError, match=message):
        _fit(tmp_path, [math.nan, math.nan, math.nan])
    assert "val/score is NaN in epoch 1" in caplog.text
    assert not list(tmp_path.rglob("best.ckpt"))
    (last,) = tmp_path.rglob("last.ckpt")
    assert _epoch(last) >= 2


def test_nan_is_never_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="oahier"):
        best = _fit(tmp_path, [math.nan, -1.0, math.nan])
    assert caplog.text.count("is NaN in epoch") == 1
    assert _epoch(best.best_model_path) == 1
    assert float(best.best_model_score) == -1.0


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [([3.0, 2.0, 1.0, 2.5], 2), ([1.0, 2.0, 3.0, 0.5], 0), ([1.0, 1.0, 1.0, 1.0], 0)],
)
def test_ties_are_broken_by_the_loss(losses: list[float], epoch: int, tmp_path: Path) -> None:
    best = _fit(tmp_path, [0.5, 0.5, 0.5, 0.25], losses)
    assert _epoch(best.best_model_path) == epoch
    fresh = BestCheckpoint("val/score", "max")
    fresh.dirpath = best.dirpath
    fresh.load_state_dict(best.state_dict())
    assert fresh._loss_of_best == losses[epoch]


def test_a_monitor_that_is_not_logged_is_named_with_the_nearest(tmp_path: Path) -> None:
    best, data = BestCheckpoint("val/scor", "max"), tiny_dataloader(tiny_batches(1))
    trainer = tiny_trainer(tmp_path, max_epochs=1, callbacks=[Scores([0.5]), best], enable_checkpointing=True)
    with pytest.raises(
        ValueError, match=r"validation logs no 'val/scor'\. Did you mean 'val/score'.* It logs "
    ):
        trainer.fit(tiny_model(), data, data)
