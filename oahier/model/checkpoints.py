"""Checkpoints that hold strings, numbers and tensors only."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch

from oahier.files import feed_file
from oahier.model.forgotten import stand_ins
from oahier.specs import SpecError, import_class
from oahier.specs.class_paths import path_of

_log = logging.getLogger(__name__)

M = TypeVar("M", bound=L.LightningModule)

CLASS_KEY = "model"
"""Entry of a checkpoint with the class of the model, and the arguments that have no serial form."""


_DATA = "KneeMRIDataModule"
"""Entry with what the data module keeps."""


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


def epochs_and_steps(checkpoint: str | Path) -> dict[str, int]:
    """``epoch`` and ``step``: how many a training had begun and made when it wrote a checkpoint.

    Empty for weights alone. Weights are not read.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    if "epoch" not in content:
        return {}
    begun = int(content["epoch"]) + 1
    if "loops" in content:  # Lightning's "epoch" is one more in a checkpoint that is saved after the training
        begun = int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"])
    return {"epoch": begun, "step": int(content["global_step"])}


def without_people(checkpoint: str | Path) -> dict[str, Any]:
    """A checkpoint as it may be shared: weights, how the model is made, and what predictions need.

    The knees and subjects of each split, optimizer states and callbacks are left out, but for the counts of
    the training data and the decisions that :class:`oahier.callbacks.DecisionCalibration` made.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    kept = ("state_dict", "hyper_parameters", CLASS_KEY, "epoch", "global_step", "pytorch-lightning_version")
    data = content.get(_DATA) or {}
    callbacks = content.get("callbacks", {})
    decisions = [name for name in callbacks if str(name).startswith("DecisionCalibration")]
    return {
        **{name: content[name] for name in kept if name in content},
        _DATA: {name: data[name] for name in ("preprocessing", "summary") if name in data},
        "callbacks": {name: callbacks[name] for name in decisions},
    }


def load_checkpoint_safely(cls: type[M], path: Any, map_location: Any, arguments: dict[str, Any]) -> M:
    """Rebuild a model and its weights, unpickling nothing; every error says what to do.

    Args:
        cls: the class that is asked for; the checkpoint may name a subclass of it.
        path: the checkpoint.
        map_location: device for the weights.
        arguments: constructor arguments that replace those of the checkpoint.

    Raises:
        CheckpointError: see :meth:`oahier.model.restorable.Restorable.load_from_checkpoint`.
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
    specification = stored if isinstance(stored, dict) else {}
    named = checkpoint.get(CLASS_KEY) or {}
    found = _class_of(cls, named.get("class_path"), path)
    forgotten = named.get("forgotten", ())
    unknown = stand_ins(specification, forgotten)
    missing = [name for name in forgotten if name not in {**arguments, **unknown}]
    if missing:
        raise CheckpointError(
            f"checkpoint {path}: it does not say how to rebuild the model: the {missing[0]} that it was "
            "trained with does not remember its arguments. Pass it: "
            f"load_from_checkpoint(path, {missing[0]}=...)"
        )
    try:
        model: M = found.from_specification(  # type: ignore[attr-defined]
            specification, **{**unknown, **arguments}
        )
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
            f"checkpoint {path}: its weights do not fit this {found.__name__}: {_shortened(error)}. "
            "Load it without arguments to get the architecture it was trained with"
        ) from error
    model.on_load_checkpoint(checkpoint)
    return model


def _class_of(cls: type[M], named: str | None, path: Any) -> type[M]:
    """The class that a checkpoint names, which must be the one asked for or a subclass of it.

    Raises:
        CheckpointError: it is neither, or not to be had.
    """
    if named is None or named == path_of(cls):
        return cls
    if any(named == path_of(base) for base in cls.__mro__):
        _log.warning(
            "checkpoint %s: it was written by %s; as asked, it is loaded as its subclass %s, with the "
            "default values of that",
            path, named, path_of(cls),
        )  # fmt: skip
        return cls
    try:
        found = import_class(named)
    except SpecError as error:
        raise CheckpointError(
            f"checkpoint {path}: it was written by {named}, without which it might predict otherwise "
            f"({error})"
        ) from error
    if not issubclass(found, cls):
        raise CheckpointError(
            f"checkpoint {path}: it was written by {named}, which is no {cls.__name__}; load it by that class"
        )
    return found


def _shortened(error: Exception, lines: int = 6) -> str:
    """The first lines of a long message, each cut to 160 characters."""
    width = 160
    parts = [line.strip() for line in str(error).splitlines() if line.strip()]
    cut = [part if len(part) <= width else part[:width] + " ..." for part in parts[:lines]]
    return "; ".join(cut) + ("; ..." if len(parts) > lines else "")
