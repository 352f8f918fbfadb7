"""Stage, folder and metric keys of a callback in a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from oahier.keys import metric_key

if TYPE_CHECKING:
    import lightning as L

__all__ = ["Stage", "metric_key", "run_directory", "stage_directory", "stage_of"]

Stage = Literal["train", "val", "test", "predict"]

_FOLDERS: dict[Stage, str] = {"train": "train", "val": "validation", "test": ".", "predict": "predict"}


def stage_of(trainer: L.Trainer) -> Stage:
    """The stage that runs now; the sanity check counts as ``"val"``.

    Raises:
        RuntimeError: nothing runs.
    """
    stage = trainer.state.stage
    if stage is None:
        raise RuntimeError("stage_of: the trainer runs nothing now; call it from a Lightning hook")
    prefix = stage.dataloader_prefix
    return cast("Stage", prefix)


def run_directory(trainer: L.Trainer) -> Path:
    """The folder of the run: ``trainer.default_root_dir``.

    Raises:
        ValueError: the folder is not on a local disk.
    """
    root = str(trainer.default_root_dir)
    if "://" in root and not root.startswith("file://"):
        raise ValueError(
            f"Trainer(default_root_dir={root!r}): expected a local folder, because result files are replaced "
            "in one step; use a local folder and copy it afterwards"
        )
    return Path(root.removeprefix("file://"))


def stage_directory(trainer: L.Trainer, stage: Stage | None = None) -> Path:
    """The folder for the files of a stage, made if it does not exist.

    Test files lie in the run's folder itself, those of validation in ``validation/``, of prediction in
    ``predict/`` and of training in ``train/``. Files of the validation split are those of its latest epoch.

    Args:
        trainer: the running trainer.
        stage: the stage; the one that runs now when not given.
    """
    directory = run_directory(trainer) / _FOLDERS[stage or stage_of(trainer)]
    directory.mkdir(parents=True, exist_ok=True)
    return directory
