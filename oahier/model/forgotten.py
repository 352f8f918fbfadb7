"""Constructor arguments that have no serial form: named, warned of, and asked for again."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from oahier.specs import MissingClassError, SpecError, Specified, describe, import_class, is_spec
from oahier.specs.class_paths import import_function
from oahier.specs.recorded import constructor_signature

_log = logging.getLogger(__name__)

ONLY_FOR_TRAINING = ("optimizer", "lr_scheduler")
"""Arguments without which a model still predicts."""


class UnknownFactory:
    """Stands for an optimizer or scheduler that a checkpoint could not rebuild; training needs another.

    Args:
        name: the argument.
        reason: why it is not known.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason

    def __call__(self, *_: Any) -> NoReturn:
        raise SpecError(
            f"{self.name}: {self.reason}. The model predicts; to train it, pass {self.name}=... to "
            "load_from_checkpoint, for example functools.partial(torch.optim.AdamW, lr=1e-4)"
        )


def describe_arguments(made: Specified) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Serial form of the arguments that something was made with, and the names of those without one.

    Defaults that have a serial form are among them.
    """
    parameters = constructor_signature(type(made)).parameters.values()
    defaults = {item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty}
    by_default, without = described(defaults)
    found, forgotten = described(made._init_arguments)
    return {**{name: item for name, item in by_default.items() if name not in without}, **found}, forgotten


def described(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Serial form of arguments, ``None`` where there is none, and the names of those."""
    found: dict[str, Any] = {}
    forgotten = []
    for name, value in arguments.items():
        try:
            found[name] = describe(value)
        except SpecError:
            found[name] = None
            forgotten.append(name)
    return found, tuple(forgotten)


def warn_of_forgotten(model: str, names: Iterable[str]) -> None:
    """Say before training which arguments its checkpoints will ask for, and how to have them remembered."""
    for name in names:
        if name in ONLY_FOR_TRAINING:
            _log.warning(
                "the %s of this %s has no serial form (a lambda, or a function inside a function?): what is "
                "loaded from its checkpoints predicts, but trains only after "
                "load_from_checkpoint(path, %s=...). A class, or functools.partial of one, is remembered.",
                name, model, name,
            )  # fmt: skip
        else:
            _log.warning(
                "the %s of this %s does not remember how it was made, so its checkpoints will ask for it: "
                "load_from_checkpoint(path, %s=...). Made with oahier.make(Class, ...) it is remembered.",
                name, model, name,
            )  # fmt: skip


def stand_ins(specification: Mapping[str, Any], forgotten: Iterable[str]) -> dict[str, UnknownFactory]:
    """What stands for the optimizer and scheduler of a checkpoint where they cannot be rebuilt here."""
    lost = {*forgotten}
    if "optimizer" in specification and specification["optimizer"] is None:  # as the first version said it
        lost.add("optimizer")
    found: dict[str, UnknownFactory] = {}
    for name in ONLY_FOR_TRAINING:
        if name in lost:
            found[name] = UnknownFactory(name, "the checkpoint does not say how it was made")
        elif is_spec(specification.get(name)):
            try:
                path = str(specification[name]["class_path"])
                import_function(path) or import_class(path)
            except MissingClassError as error:
                found[name] = UnknownFactory(name, str(error))
    return found
