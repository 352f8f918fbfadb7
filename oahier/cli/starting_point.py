"""Checkpoint from which ``oahier fit`` goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oahier.callbacks.run_folder import LAST, checkpoints_in, is_whole, last_checkpoint

LOOKED_UP = ("best", "hpc", "registry")
"""Names of checkpoints that Lightning looks up."""


def starting_point(options: Any) -> str | None:
    """The checkpoint that a fit goes on from, ``None`` for a new training.

    Args:
        options: of ``oahier fit``; ``ckpt_path`` may be ``last``, which is none where no epoch is finished,
            as at the first start of a job that a cluster queues again.

    Raises:
        ValueError: no such checkpoint, a damaged one, or a new training in the folder of another.
    """
    run, named = Path(options.trainer.default_root_dir), options.ckpt_path
    if named is None and os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        named = "last"
    if named == "last":
        found = last_checkpoint(run)
        return None if found is None else str(found)
    if named is not None and named not in LOOKED_UP:
        if not Path(named).is_file():
            raise ValueError(f"oahier fit: --ckpt_path {named}: no such file")
        if Path(named).name == LAST:
            return str(last_checkpoint(Path(named).parent))
        require_whole(Path(named))
    there = checkpoints_in(run)
    if named is None and there and not options.overwrite and not options.trainer.fast_dev_run:
        raise ValueError(
            f"oahier fit: {run} holds a run already ({', '.join(path.name for path in there)}). To go on "
            "with it: --ckpt_path last (and more --trainer.max_epochs if it is finished); to train anew in "
            "its place: --overwrite; or choose another folder: --trainer.default_root_dir"
        )
    return None if named is None else str(named)


def require_whole(path: Path) -> None:
    """Refuse a checkpoint that a kill or a full disk left half written.

    Raises:
        ValueError: it is damaged.
    """
    if not is_whole(path):
        raise ValueError(
            f"--ckpt_path {path}: damaged (half written, or no checkpoint at all); name another one"
        )
