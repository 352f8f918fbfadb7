"""Loggers that can show something get it; the others, and other processes, are left alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from oahier.callbacks.files import write_figure
from oahier.callbacks.loggers import log_picture, log_table


class Wandb(WandbLogger):
    def __init__(self):
        self.calls = []

    def log_image(self, key, images, step=None, **_):
        self.calls.append((key, images, step))

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.calls.append((key, dataframe.to_dict("list"), step))


class TensorBoard(TensorBoardLogger):
    def __init__(self):
        self.calls = []

    @property
    def experiment(self):
        return SimpleNamespace(add_image=lambda *call, **named: self.calls.append((*call, named)))


@pytest.fixture
def picture(tmp_path) -> Path:
    from matplotlib.figure import Figure

    return write_figure(tmp_path / "a.png", Figure(figsize=(1, 2), dpi=50))


def _trainer(*loggers, first=True):
    return SimpleNamespace(loggers=list(loggers), is_global_zero=first, global_step=7)


def test_pictures_and_tables_reach_the_loggers_that_show_them(picture, tmp_path):
    wandb, tensorboard = Wandb(), TensorBoard()
    trainer = _trainer(wandb, CSVLogger(tmp_path), tensorboard)

    log_picture(trainer, "val/kl/reliability", picture)
    log_table(trainer, "val/axis", pd.DataFrame({"kl": [0, 1]}))

    assert wandb.calls == [("val/kl/reliability", [str(picture)], 7), ("val/axis", {"kl": [0, 1]}, 7)]
    ((name, pixels, step, named),) = tensorboard.calls
    assert (name, step, named) == ("val/kl/reliability", 7, {"dataformats": "HWC"})
    assert pixels.shape == (100, 50, 3)
    assert pixels.dtype == np.uint8


def test_other_processes_log_nothing(picture):
    wandb = Wandb()
    log_picture(_trainer(wandb, first=False), "a", picture)
    log_table(_trainer(wandb, first=False), "a", pd.DataFrame())
    assert wandb.calls == []
