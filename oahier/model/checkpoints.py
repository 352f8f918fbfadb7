"""Checkpoints that hold strings, numbers and tensors only."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch

from oahier.files import feed_file
from oahier.specs import SpecError, describe

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=L.LightningModule)


class CheckpointError(ValueError):
    """A checkpoint cannot be loaded; the message says why and what to do."""


def checkpoint_hash(path: str | Path) -> str:
    """SHA-256 of the bytes of a checkpoint, 64 hexadecimal digits, as ``sha256sum`` prints it.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    feed_file(digest, Path(path))
    return digest.hexdigest()


def describe_parts(**parts: Any) -> dict[str, Any]:
    """Serial form of a model's constructor arguments; a part that cannot be described becomes ``None``."""
    return {name: _described(part) for name, part in parts.items()}


def forgotten_parts(specification: dict[str, Any], module: L.LightningModule) -> list[str]:
    """Names of the parts that a checkpoint of this module will not be able to rebuild."""
    needed = [name for name in ("encoder", "heads") if specification.get(name) is None]
    given = [name for name in needed if getattr(module, name, None) is not None]
    for name in given:
        _log.warning(
            "the %s of this %s does not remember how it was made, so its checkpoints will ask for it: "
            "load_from_checkpoint(path, %s=...). Made with oahier.make(Class, ...) it is remembered.",
            name,
            type(module).__name__,
            name,
        )
    return given


def _described(part: Any) -> Any:
    try:
        return describe(part)
    except SpecError:
        return None


def load_checkpoint_safely(
    cls: type[M], build: Callable[..., M], path: Any, map_location: Any, arguments: dict[str, Any]
) -> M:
    """Rebuild a model and its weights, unpickling nothing; every error says what to do.

    Args:
        cls: the model's class.
        build: makes a model from its serial form and the arguments that replace parts of it.
        path: the checkpoint.
        map_location: device for the weights.
        arguments: constructor arguments that replace those of the checkpoint.

    Raises:
        CheckpointError: see :meth:`oahier.HierarchicalClassifier.load_from_checkpoint`.
    """
    if isinstance(path, (str, Path)) and not Path(path).is_file():
        raise CheckpointError(f"checkpoint {path}: no such file")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        raise CheckpointError(
            f"checkpoint {path}: not a file of plain weights; it is damaged or holds pickled objects, which "
            f"could run code when loaded. Make it again with oahier ({_shortened(error, lines=1)})"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(
            f"checkpoint {path}: expected a Lightning checkpoint with a 'state_dict', got none"
        )
    stored = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY)
    try:
        model = build(stored if isinstance(stored, dict) else {}, **arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path}: it does not say how to rebuild the model ({error}). Was it written by "
            "another library, or with an encoder or head that does not remember its arguments? Then pass "
            "that part, for example load_from_checkpoint(path, encoder=...)"
        ) from error
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint {path}: its weights do not fit this {cls.__name__}: {_shortened(error)}. "
            "Load it without arguments to get the architecture it was trained with"
        ) from error
    model.on_load_checkpoint(checkpoint)
    return model


def _shortened(error: Exception, lines: int = 6, width: int = 160) -> str:
    """The first lines of a long message, each cut to ``width`` characters."""
    parts = [line.strip() for line in str(error).splitlines() if line.strip()]
    cut = [part if len(part) <= width else part[:width] + " ..." for part in parts[:lines]]
    return "; ".join(cut) + ("; ..." if len(parts) > lines else "")
