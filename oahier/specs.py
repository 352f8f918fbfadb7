"""The one serial form of a part: ``{"class_path": ..., "init_args": {...}}``.

A part that inherits from :class:`Specified` remembers the arguments it was made with, so that a model
can write down how to rebuild its encoder and heads. Checkpoints therefore hold strings and numbers only
and load with ``weights_only=True``.
"""

from __future__ import annotations

import difflib
import enum
import functools
import importlib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
S = TypeVar("S", bound="Specified")
Spec = dict[str, Any]

_PRIMITIVES: tuple[type, ...] = (bool, str, int, float)


class SpecError(ValueError):
    """A part cannot be described by, or rebuilt from, a ``class_path``."""


class Specified:
    """Mixin that records constructor arguments, without asking anything of the subclass.

    >>> class Ball(Specified):
    ...     def __init__(self, radius, colour="red"):
    ...         self.radius = radius
    >>> describe(Ball(2))["init_args"]
    {'radius': 2}
    """

    _init_arguments: dict[str, Any]

    def __new__(cls: type[S], /, *args: Any, **kwargs: Any) -> S:
        instance = super().__new__(cls)
        object.__setattr__(instance, "_init_arguments", _bind(cls, args, kwargs))
        return instance


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(cls).bind_partial(*args, **kwargs)
    except TypeError:
        return {}  # wrong arguments: the constructor itself reports them, better than we could
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            raise SpecError(f"{cls.__name__}: a Specified class must not take *{name}; name its arguments")
        else:
            arguments[name] = value
    return arguments


def make(cls: type[T], /, **init_args: Any) -> T:
    """Make an object of any class and remember how, so that a checkpoint can rebuild it.

    Use it for a class of somebody else's; subclasses of :class:`Specified` need no help.

    >>> import torch
    >>> describe(make(torch.nn.PReLU, num_parameters=2))
    {'class_path': 'torch.nn.modules.activation.PReLU', 'init_args': {'num_parameters': 2}}
    """
    instance = cls(**init_args)
    object.__setattr__(instance, "_init_arguments", init_args)
    return instance


def class_path(cls: type) -> str:
    """Importable dotted path of a class.

    Raises:
        SpecError: the class lives inside a function and cannot be imported.
    """
    if "<locals>" in cls.__qualname__:
        raise SpecError(
            f"class {cls.__qualname__!r} is defined inside a function and cannot be imported again; "
            "move it to the top level of a module"
        )
    return f"{cls.__module__}.{cls.__qualname__}"


def describe(value: Any) -> Any:
    """The serial form of a value: primitives as they are, parts as ``{class_path, init_args}``.

    A class, or a partial of one, stands for what it will make (an optimizer, a scheduler): see
    :func:`build_factory`. Among the arguments of a part it cannot be described, because a rebuilt part would
    get an instance instead.

    Raises:
        SpecError: a part does not remember its arguments (see :func:`make`), or an argument has no
            serial form.
    """
    if isinstance(value, functools.partial) and isinstance(value.func, type) and not value.args:
        return {"class_path": class_path(value.func), "init_args": _describe_argument(value.keywords)}
    if isinstance(value, type):
        return {"class_path": class_path(value), "init_args": {}}
    return _describe_argument(value)


def _describe_argument(value: Any) -> Any:
    if value is None or type(value) in _PRIMITIVES:
        return value
    if isinstance(value, np.generic):
        return _describe_argument(value.item())
    for primitive in _PRIMITIVES:  # enumerations: their value
        if isinstance(value, primitive):
            return primitive(value.value if isinstance(value, enum.Enum) else value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _describe_argument(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_describe_argument(item) for item in value]
    arguments = None if isinstance(value, type) else getattr(value, "_init_arguments", None)
    if arguments is None:
        raise SpecError(
            f"{type(value).__name__} does not remember its constructor arguments; make it with "
            f"oahier.make({type(value).__name__}, ...) or give {{'class_path': ..., 'init_args': ...}}"
        )
    return {"class_path": class_path(type(value)), "init_args": _describe_argument(arguments)}


def is_spec(value: Any) -> bool:
    """True for a mapping with a ``class_path`` and, at most, ``init_args``."""
    return isinstance(value, Mapping) and "class_path" in value and set(value) <= {"class_path", "init_args"}


def build(spec: Mapping[str, Any], expected: type[T]) -> T:
    """Rebuild a part. Only subclasses of ``expected`` are ever called.

    Args:
        spec: ``{"class_path": "package.Class", "init_args": {...}}``; nested specs are built too.
        expected: the base class that the part must have.

    Raises:
        SpecError: the class does not exist (the nearest names are given), is of another kind, or
            refuses its arguments.
    """
    cls, arguments = _resolve(spec, expected)
    try:
        return make(cls, **arguments)
    except TypeError as error:
        raise SpecError(f"{spec['class_path']} does not accept {sorted(arguments)}: {error}") from error


def build_factory(spec: Mapping[str, Any], expected: type[T]) -> functools.partial[T]:
    """Like :func:`build`, for classes that need one more argument later (optimizers, schedulers)."""
    cls, arguments = _resolve(spec, expected)
    return functools.partial(cls, **arguments)


def _resolve(spec: Mapping[str, Any], expected: type[T]) -> tuple[type[T], dict[str, Any]]:
    if not is_spec(spec):
        raise SpecError(
            f"expected {{'class_path': ..., 'init_args': ...}}, got keys {sorted(map(str, spec))}"
        )
    cls = import_class(str(spec["class_path"]))
    if not issubclass(cls, expected):
        raise SpecError(
            f"class_path {spec['class_path']!r}: expected a subclass of {expected.__name__}, "
            f"got {cls.__name__}"
        )
    return cls, {name: _build_nested(item) for name, item in (spec.get("init_args") or {}).items()}


def _build_nested(value: Any) -> Any:
    from torch import nn

    if is_spec(value):
        return build(value, nn.Module)
    if isinstance(value, list):
        return [_build_nested(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _build_nested(item) for name, item in value.items()}
    return value


def import_class(path: str) -> type:
    """Import a class by dotted path; a bare name is looked up among oahier's public names.

    Raises:
        SpecError: with the nearest existing names.
    """
    module_path, _, name = path.rpartition(".")
    try:
        owner = _import_owner(module_path or "oahier")
    except (ImportError, TypeError, ValueError) as error:
        raise SpecError(
            f"class_path {path!r}: module {module_path!r} cannot be imported ({error})"
        ) from error
    found = getattr(owner, name, None)
    if not isinstance(found, type):
        raise SpecError(f"class_path {path!r} does not name a class.{nearest(name, dir(owner))}")
    return found


def _import_owner(path: str) -> ModuleType | type:
    """The module of that path, or the class that another class is defined in."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        outer, _, name = path.rpartition(".")
        owner = getattr(_import_owner(outer), name, None) if outer else None
        if not isinstance(owner, type):
            raise
        return owner


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the known names closest to a misspelt one, empty where nothing is near.

    >>> nearest("resnet81", ["resnet18", "resnet34", "vit"])
    " Did you mean 'resnet18' or 'resnet34'?"
    """
    lowered = {item.lower(): item for item in known if not item.startswith("_")}
    close = [lowered[item] for item in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
