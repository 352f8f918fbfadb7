"""Checkpoint of ``oahier validate`` and ``oahier test``, and the data that it may be evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from oahier.callbacks.run_folder import BEST, last_checkpoint
from oahier.cli.classes import is_class_path, options_of
from oahier.cli.starting_point import LOOKED_UP, require_whole
from oahier.data import KneeMRIDataModule, PairedVisits
from oahier.data.provenance import compare, record_in
from oahier.model.checkpoints import CLASS_KEY
from oahier.specs import current_paths
from oahier.specs.class_paths import path_of
from oahier.types import Split


def evaluated_checkpoint(command: str, options: Any) -> str:
    """The file to evaluate: the one that is named, else the best epoch of the run.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    run, named = Path(options.trainer.default_root_dir), options.ckpt_path
    if named in (None, "best"):
        path = run / "checkpoints" / BEST
        if not path.is_file():
            last = last_checkpoint(run)
            fix = (
                f"the last epoch is there: --ckpt_path {last}"
                if last
                else "train first (oahier fit), or an untrained model would be evaluated"
            )
            raise ValueError(
                f"oahier {command}: expected --ckpt_path FILE or a checkpoint at {path}, found neither; {fix}"
            )
    elif named in LOOKED_UP:
        return str(named)
    else:
        path = (last_checkpoint(run) if named == "last" else None) or Path(named)
    if not path.is_file():
        raise ValueError(f"oahier {command}: --ckpt_path {path}: no such file")
    require_whole(path)
    return str(path)


def take_from(content: Mapping[str, Any], options: Any) -> dict[str, Any]:
    """The model of a checkpoint; the spacing of its volumes is set where the options name none."""
    spacing = record_in(content).get("preprocessing", {}).get("spacing")
    if options.data.get("spacing", ()) is None and spacing:
        options.data.spacing = tuple(spacing)
    model: dict[str, Any] = current_paths(content.get("hyper_parameters") or {})
    return model


def refuse_model_options(command: str, words: Sequence[str]) -> None:
    """Refuse options of the model, which an evaluation takes from the checkpoint and would not follow.

    Raises:
        ValueError: names the option.

    >>> refuse_model_options("test", ["--config", "run/config.yaml", "--model.probes=[kl]"])
    Traceback (most recent call last):
    ...
    ValueError: oahier test: --model.probes: the model is that of the checkpoint; oahier fit changes it
    """
    for option, value in options_of(words):
        plain = option == "--model" and is_class_path(value)
        named = plain or option == "--model.class_path" or option.endswith(".help")
        if option.partition(".")[0] == "--model" and not named:
            raise ValueError(
                f"oahier {command}: {option}: the model is that of the checkpoint; oahier fit changes it"
            )


def content_of(checkpoint: str) -> Mapping[str, Any]:
    """What a checkpoint holds, without reading its weights.

    Raises:
        ValueError: it holds pickled objects.
    """
    if not Path(checkpoint).is_file():
        return {}
    try:
        content: Mapping[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a pickle can raise almost anything
        raise ValueError(
            f"--ckpt_path {checkpoint}: expected plain weights, got pickled objects, which could run code"
        ) from error
    return content


def require_its_class(command: str, checkpoint: str | None, content: Mapping[str, Any], model: type) -> None:
    """Refuse a checkpoint of a model of another class, which its weights might even fit.

    Raises:
        ValueError: names both classes, and what to write.
    """
    kept = content.get(CLASS_KEY)
    named = current_paths(kept.get("class_path")) if isinstance(kept, Mapping) else None
    if named and named != path_of(model):
        raise ValueError(
            f"oahier {command}: --ckpt_path {checkpoint}: its model is of the class {named}, that of the "
            f"configuration of {path_of(model)}; use the configuration of its run, or "
            f"--model.class_path {named}"
        )


def require_its_data(
    command: str, options: Any, content: Mapping[str, Any], data: KneeMRIDataModule | PairedVisits
) -> None:
    """Refuse data that a checkpoint gives wrong results of, or results of other knees in place of its run's.

    Raises:
        ValueError: says what the training had, and what to do.
    """
    record = record_in(content)
    if not record:
        return
    run, checkpoint = Path(options.trainer.default_root_dir), Path(options.ckpt_path)
    its_run = checkpoint.absolute().parent.parent
    try:
        compare(record, data.manifest, data.preprocessing, command)
    except ValueError as error:
        config = its_run / "config.yaml"
        fix = f"; its configuration is {config}" if config.is_file() else ""
        raise ValueError(f"oahier {command}: {error}{fix}") from error
    split: Split = "test" if command == "test" else "val"
    there, here = set(record["splits"][split]), set(data.manifest.subset(split).table["knee"])
    if there and there != here and its_run == run.absolute():
        raise ValueError(
            f"oahier {command}: the {split} split has other knees than at the training ({len(here - there)} "
            f"new, {len(there - here)} missing), whose results would replace those in {run}. "
            f"Name a folder of their own: --ckpt_path {checkpoint} --trainer.default_root_dir {run}-other"
        )
