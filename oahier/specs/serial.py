"""Description of components as ``{class_path, init_args}``, and making them from it."""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from oahier.specs.class_paths import class_path, import_class, import_function
from oahier.specs.errors import SpecError
from oahier.specs.recorded import Specified, make

T = TypeVar("T")

_PRIMITIVES: tuple[type, ...] = (bool, str, int, float)


def describe(value: Any) -> Any:
    """The serial form of a value: primitives as they are, parts as ``{class_path, init_args}``.

    A class or function, or a partial of one, stands for what it will make (an optimizer, a scheduler): see
    :func:`build_factory`. Among the arguments of a part it cannot be described, because a rebuilt part would
    get an instance instead.

    Raises:
        SpecError: a part does not remember its arguments (see :func:`make`), or an argument has no
            serial form.
    """
    made_by, arguments = value, {}
    if isinstance(value, functools.partial) and not value.args:
        made_by, arguments = value.func, value.keywords
    if isinstance(made_by, type) or inspect.isfunction(made_by):
        return {"class_path": class_path(made_by), "init_args": _describe_argument(arguments)}
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


def build(spec: Mapping[str, Any], expected: type[T] | tuple[type[T], ...]) -> T:
    """Rebuild a part. Only subclasses of ``expected`` are ever called.

    Args:
        spec: ``{"class_path": "package.Class", "init_args": {...}}``; nested specs are built too.
        expected: the base class that the part must have, or several of which it must have one.

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
    """Like :func:`build`, for classes that need one more argument later (optimizers, schedulers).

    A function is taken, too, if its package is one that the user named: what those of other packages do with
    the arguments of a file is not known.
    """
    function = import_function(_path_of(spec))
    if function is not None:
        return functools.partial(function, **_built_arguments(spec))
    cls, arguments = _resolve(spec, expected)
    return functools.partial(cls, **arguments)


def _path_of(spec: Mapping[str, Any]) -> str:
    if not is_spec(spec):
        raise SpecError(
            f"expected {{'class_path': ..., 'init_args': ...}}, got keys {sorted(map(str, spec))}"
        )
    return str(spec["class_path"])


def _resolve(
    spec: Mapping[str, Any], expected: type[T] | tuple[type[T], ...]
) -> tuple[type[T], dict[str, Any]]:
    cls = import_class(_path_of(spec))
    if not issubclass(cls, expected):
        bases = expected if isinstance(expected, tuple) else (expected,)
        raise SpecError(
            f"class_path {spec['class_path']!r}: expected a subclass of "
            f"{' or '.join(base.__name__ for base in bases)}, got {cls.__name__}"
        )
    return cls, _built_arguments(spec)


def _built_arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: build_nested(item) for name, item in (spec.get("init_args") or {}).items()}


def build_nested(value: Any) -> Any:
    """A value with what is described in it made: each a ``torch.nn.Module`` or :class:`Specified`."""
    from torch import nn

    if is_spec(value):
        kinds: tuple[type[Any], ...] = (nn.Module, Specified)
        return build(value, kinds)
    if isinstance(value, list):
        return [build_nested(item) for item in value]
    if isinstance(value, Mapping):
        return {name: build_nested(item) for name, item in value.items()}
    return value
