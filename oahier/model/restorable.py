"""Modules whose checkpoints say which class they are and how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import IOBase
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
from torch import Tensor

from oahier.model.assembly import build_parts
from oahier.model.checkpoints import CLASS_KEY, load_checkpoint_safely
from oahier.model.forgotten import describe_arguments, described, warn_of_forgotten
from oahier.specs import Specified, trusting
from oahier.specs.class_paths import path_of

M = TypeVar("M", bound="Restorable")


class Restorable(Specified, L.LightningModule):
    """Remembers the constructor arguments of its class, those of a subclass included.

    A checkpoint holds the class, the serial form of its arguments, and the names of those that have none (a
    lambda, a module that does not remember how it was made).
    """

    specification: dict[str, Any]
    """Serial form of the constructor arguments by name."""
    _planned_epochs: int | None = None
    """Epochs of the training that a checkpoint to resume from is of."""

    def remember_arguments(self) -> None:
        """Describe the arguments that this module was made with; the constructor calls this first."""
        self.specification, self._forgotten = describe_arguments(self)
        self.save_hyperparameters(self.specification)

    def remember(self, arguments: Mapping[str, Any]) -> None:
        """Take the constructor arguments from a configuration, for checkpoints and loggers."""
        self.specification, self._forgotten = described(arguments)
        self.save_hyperparameters(self.specification)

    def setup(self, stage: str) -> None:
        """Warn of arguments that checkpoints of this training will not hold."""
        if stage == "fit":
            warn_of_forgotten(type(self).__name__, self._forgotten)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CLASS_KEY] = {"class_path": path_of(type(self)), "forgotten": list(self._forgotten)}
        if self._trainer is not None:
            checkpoint[CLASS_KEY]["max_epochs"] = self._trainer.max_epochs
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.specification
        checkpoint.pop(self.CHECKPOINT_HYPER_PARAMS_NAME, None)
        weights = checkpoint.get("state_dict", {})
        for name, value in weights.items():
            if isinstance(value, Tensor):
                weights[name] = value.contiguous()  # safetensors takes no other layout

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._planned_epochs = (checkpoint.get(CLASS_KEY) or {}).get("max_epochs")

    @classmethod
    def from_specification(cls: type[M], specification: Mapping[str, Any], **arguments: Any) -> M:
        """A model from the serial form of its arguments, as checkpoints and configurations hold it.

        Args:
            specification: serial form of the constructor arguments; a model's own is ``specification``.
            arguments: constructor arguments that replace those of the specification.

        Raises:
            SpecError: a class is not found, is of another kind, or refuses its arguments.
        """
        return cls(**build_parts({**specification, **arguments}))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls: type[M],
        checkpoint_path: str | Path | IOBase,
        map_location: Any = "cpu",
        *,
        trust: str | Iterable[str] = (),
        **arguments: Any,
    ) -> M:
        """Rebuild a model from a checkpoint, which must hold strings, numbers and tensors only.

        The model is of the class that the checkpoint names, if that is a subclass of this one. Where the
        optimizer or scheduler cannot be rebuilt, the model predicts, and refuses to train.

        Args:
            checkpoint_path: a file that Lightning wrote, or one that is open.
            map_location: device for the weights.
            trust: packages of your own that the checkpoint may name classes of, see
                :mod:`oahier.specs.trust`; classes that are imported already need no naming.
            arguments: constructor arguments that replace those of the checkpoint.

        Raises:
            CheckpointError: no such file, pickled code inside, a class of a package that is not trusted, an
                argument that the checkpoint does not hold, or weights of another architecture.
        """
        with trusting(trust):
            return load_checkpoint_safely(cls, checkpoint_path, map_location, arguments)
