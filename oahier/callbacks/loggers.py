"""Showing pictures and tables in whatever loggers a run has.

Files on disk are the source of truth; a logger gets a copy if it can show one, and is left alone if not.
"""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

if TYPE_CHECKING:
    import lightning as L
    import pandas as pd


def log_picture(trainer: L.Trainer, name: str, path: Path) -> None:
    """Show a picture file in every logger that can show pictures; only the first process does.

    Args:
        trainer: the running trainer.
        name: key of the picture, for example ``"val/kl/confusion_matrix"``.
        path: the written PNG file.
    """
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            _show_picture(logger, name, path, trainer.global_step)


def log_table(trainer: L.Trainer, name: str, table: pd.DataFrame) -> None:
    """Show a table in every logger that can show tables; only the first process does.

    Weights & Biases may lose tables of offline runs at a later sync, so write a file as well.

    Args:
        trainer: the running trainer.
        name: key of the table.
        table: its rows; column names must be strings.
    """
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            _show_table(logger, name, table, trainer.global_step)


@singledispatch
def _show_picture(logger: Logger, name: str, path: Path, step: int) -> None:
    """A logger that shows no pictures."""


@_show_picture.register(WandbLogger)
def _(logger: WandbLogger, name: str, path: Path, step: int) -> None:
    logger.log_image(name, [str(path)], step=step)


@_show_picture.register(TensorBoardLogger)
def _(logger: TensorBoardLogger, name: str, path: Path, step: int) -> None:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        logger.experiment.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")


@singledispatch
def _show_table(logger: Logger, name: str, table: pd.DataFrame, step: int) -> None:
    """A logger that shows no tables."""


@_show_table.register(WandbLogger)
def _(logger: WandbLogger, name: str, table: pd.DataFrame, step: int) -> None:
    logger.log_table(name, dataframe=table, step=step)
