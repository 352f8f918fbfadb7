"""One Weights & Biases group a study, one run a cell."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Mapping
from typing import Any

from oahier.study.cells import Cell


def track(config: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """The configuration with the cell's name, group and folder in its Weights & Biases logger, if it has one.

    The run's id follows from study and cell, so that a resumed cell continues its run.
    """
    tracked = copy.deepcopy(dict(config))
    trainer = tracked["trainer"]
    if trainer.get("logger") in (None, True):
        trainer["logger"] = False  # tables and curves are files; other loggers are a choice
        return tracked
    loggers = trainer["logger"] if isinstance(trainer["logger"], list) else [trainer["logger"]]
    for logger in loggers:
        if not isinstance(logger, dict):
            continue
        arguments = logger["init_args"] = dict(logger.get("init_args") or {})
        arguments["save_dir"] = str(cell.folder)
        if logger["class_path"].rsplit(".", 1)[-1] == "WandbLogger":
            study = str(cell.settings["study"])
            key = hashlib.sha256(f"{study}/{cell.name}/{cell.folder.absolute()}".encode()).hexdigest()[:12]
            arguments |= {"name": cell.name, "group": study, "id": key}
            arguments["tags"] = list(cell.factors.values())
    return tracked


def finish_tracking() -> None:
    """End a running Weights & Biases run, so that the next cell of this process has its own."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish()
