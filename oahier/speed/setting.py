"""Callback that trains in the chosen way, and tries which that is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.seed import isolate_rng
from rich.console import Console
from torch.utils.data import DataLoader, IterableDataset
from typing_extensions import override

from oahier.callbacks.files import write_json
from oahier.callbacks.keys import run_directory
from oahier.model import HierarchicalClassifier
from oahier.model.execution import Execution, set_layout
from oahier.specs.errors import nearest
from oahier.speed.choice import Speed
from oahier.speed.copies import precision_plugin
from oahier.speed.selection import TrialError, fastest
from oahier.speed.table import WIDTH, Trial, trial_table
from oahier.speed.trial import STEPS
from oahier.types import Batch

BATCHES = 4
"""Training batches that a trial takes in turn."""
SPEED_FILE = "speed.json"
"""In a run's folder: what was tried, and the choice."""


class SpeedSetting(L.Callback):
    """Sets precision, layout and compilation for a training or an evaluation, and takes them back after it.

    With ``"auto"`` a training begins with a trial (:func:`oahier.speed.fastest`) on copies of the model and
    its first training batches; of several processes the first one tries, and all take its choice. The table
    is printed, and written with the choice to ``speed.json`` in the run's folder. The training is bit-equal
    to one that names the choice. To resume it, give ``tried_before(folder) or "auto"``
    (:func:`tried_before`): a second trial could choose otherwise. Evaluations try nothing: they take the
    choice of the training before, else they are computed as the trainer says. Other callbacks see its
    precision from ``on_fit_start`` on.

    Args:
        speed: a choice (also as a mapping of its fields), ``"auto"``, or ``"none"`` to change nothing.

    Raises:
        TypeError: none of these.
        ValueError: another word or field; a precision that contradicts the trainer's.
        TrialError: no training batch or no step can be had for a trial.
    """

    trial: Trial | None = None
    """What the last training tried; the first of several processes has it."""
    tried = False
    """Whether the choice is that of a trial."""

    def __init__(self, speed: Speed | Mapping[str, Any] | Literal["none", "auto"] = "auto") -> None:
        super().__init__()
        self.choice: Speed | None = _choice(speed)
        """What is set; ``None`` before a trial."""
        self._automatic = speed == "auto"
        self._own: Precision | None = None

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._automatic and stage == "fit":
            found = self._chosen(trainer, _classifier(pl_module)) if trainer.is_global_zero else None
            self.choice, self.tried = trainer.strategy.broadcast(found), True
        if self.choice is not None and self.choice != Speed():
            self._set(trainer, _classifier(pl_module), self.choice)

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._own is None or not isinstance(pl_module, HierarchicalClassifier):
            return
        trainer.strategy.precision_plugin, self._own = self._own, None
        pl_module.execution = Execution()
        set_layout(pl_module.encoder, channels_last=False)

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, pl_module, "")

    def _set(self, trainer: L.Trainer, model: HierarchicalClassifier, speed: Speed) -> None:
        self._own = trainer.strategy.precision_plugin
        if speed.precision not in (None, self._own.precision):
            if type(self._own) is not Precision:
                raise ValueError(
                    f"speed: precision {speed.precision} contradicts the trainer's {self._own.precision}; "
                    "give one of them, or both alike"
                )
            plugin = precision_plugin(str(speed.precision), trainer.strategy.root_device)
            trainer.strategy.precision_plugin = plugin or self._own
        model.execution = Execution(channels_last=speed.channels_last, compiled=speed.compile)
        set_layout(model.encoder, channels_last=speed.channels_last)

    def _chosen(self, trainer: L.Trainer, model: HierarchicalClassifier) -> Speed:
        """The choice of a trial, which is printed and written."""
        require_precision(trainer)
        console = Console(highlight=False)
        console.print(f"speed: {STEPS} steps are tried of each candidate; compiling may take minutes")
        self.trial = trial_of(trainer, model)
        write_json(run_directory(trainer) / SPEED_FILE, self.trial.as_dict())
        if not (console.is_terminal or console.is_jupyter):
            console.width = WIDTH
        console.print(trial_table(self.trial), markup=False)
        console.print(f"speed: {self.trial.choice}\n", markup=False)
        return self.trial.choice


def _choice(speed: object) -> Speed | None:
    """What is given as a choice; ``None`` for the words ``"auto"`` and ``"none"``."""
    expected = "speed: expected none, auto or a choice (oahier.speed.Speed, or a mapping of its fields), got "
    if isinstance(speed, str):
        if speed in ("none", "auto"):
            return None
        raise ValueError(f"{expected}{speed!r}")
    if isinstance(speed, Mapping):
        names = [field.name for field in fields(Speed)]
        unknown = [name for name in speed if name not in names]
        if unknown:
            raise ValueError(f"speed: there is no field {unknown[0]!r}.{nearest(str(unknown[0]), names)}")
        return Speed(**speed)
    if not isinstance(speed, Speed):
        raise TypeError(f"{expected}{type(speed).__name__}")
    return speed


def require_precision(trainer: L.Trainer) -> None:
    """Refuse a precision beside which nothing can be tried.

    Raises:
        TrialError: half or double precision of the weights.
    """
    plugin = trainer.precision_plugin
    if type(plugin) not in (Precision, MixedPrecision):
        raise TrialError(
            f"speed: auto: expected trainer.precision 32-true, bf16-mixed or 16-mixed, got {plugin.precision}"
        )


def trial_of(trainer: L.Trainer, model: HierarchicalClassifier) -> Trial:
    """A trial with the first batches of the training that a trainer is about to make.

    Raises:
        TrialError: the batches do not come from a map-style data set.
    """
    loader = trainer.fit_loop._data_source.dataloader()
    with isolate_rng():
        batches = list(_first_batches(loader, trainer))
    return fastest(
        model,
        batches,
        device=trainer.strategy.root_device,
        class_counts=getattr(getattr(trainer, "datamodule", None), "class_counts", None),
        precision=trainer.precision_plugin.precision,  # type: ignore[arg-type]
        planned_steps=_planned_steps(trainer, loader),
    )


def _first_batches(loader: Any, trainer: L.Trainer) -> Iterator[Batch]:
    """Batches on their device as the training will have them; loader and sampler are not drawn from."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise TrialError(
            "speed: auto: expected training batches from a DataLoader of a map-style data set, got "
            f"{type(loader).__name__}; name the choice instead"
        )
    own = (loader.generator, getattr(loader.sampler, "generator", None))
    states = [(one, one.get_state()) for one in own if one is not None]
    order: Any = copy.copy(loader.sampler)  # counts epochs of its own
    if loader.batch_sampler is not None:
        sampler, order = order, copy.copy(loader.batch_sampler)
        order.sampler = sampler
    try:
        for draw in islice(order, BATCHES):
            single = loader.batch_sampler is None
            made = loader.collate_fn(
                loader.dataset[draw] if single else [loader.dataset[one] for one in draw]
            )
            yield trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(made))
    finally:
        for generator, state in states:
            generator.set_state(state)


def _planned_steps(trainer: L.Trainer, loader: Any) -> int | None:
    """Training steps that the trainer is to make at most; ``None`` for an endless training."""
    each = -(-len(loader) // trainer.world_size)
    each = min(each, limit) if isinstance(limit := trainer.limit_train_batches, int) else int(each * limit)
    epochs = trainer.max_epochs
    bounds = [each * epochs] if epochs is not None and epochs >= 0 else []
    bounds += [trainer.max_steps] if trainer.max_steps >= 0 else []
    return min(bounds, default=None)


def _classifier(pl_module: L.LightningModule) -> HierarchicalClassifier:
    if not isinstance(pl_module, HierarchicalClassifier):
        raise TypeError(f"SpeedSetting: expected an oahier model, got {type(pl_module).__name__}")
    return pl_module


def tried_speed(trainer: L.Trainer) -> dict[str, Any] | None:
    """What a trial of this trainer chose, as a configuration has it; ``None`` where nothing was tried."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    tried = [one.choice for one in callbacks if isinstance(one, SpeedSetting) and one.tried]
    return tried[0].as_dict() if tried and tried[0] is not None else None


def tried_before(folder: str | Path) -> Speed | None:
    """The choice of an earlier trial, as ``speed.json`` in a run's folder has it."""
    path = Path(folder) / SPEED_FILE
    return Speed(**json.loads(path.read_text(encoding="utf-8"))["choice"]) if path.is_file() else None
