"""Classes that remember the arguments they were made with."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from oahier.specs.errors import SpecError

T = TypeVar("T")
S = TypeVar("S", bound="Specified")


class Specified:
    """Mixin that records constructor arguments, without asking anything of the subclass.

    >>> from oahier.specs import describe
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


def constructor_signature(cls: type) -> inspect.Signature:
    """Signature of a constructor, without ``self``.

    Early releases of Python 3.11 take that of ``Specified.__new__`` for that of a class that inherits its
    ``__init__``.

    >>> str(constructor_signature(type("Ball", (Specified,), {"__init__": lambda self, radius: None})))
    '(radius)'
    """
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = constructor_signature(cls).bind_partial(*args, **kwargs)
    except TypeError:
        return {}  # wrong arguments: the constructor itself reports them, better than we could
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            arguments.update(_named_by_base(cls, name, value, bound.signature))
        else:
            arguments[name] = value
    return arguments


def _named_by_base(
    cls: type, name: str, values: tuple[Any, ...], signature: inspect.Signature
) -> dict[str, Any]:
    """Positional arguments that a constructor hands on, by the names that the base class has for them."""
    passes_on = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in signature.parameters.values())
    constructors = [base.__dict__["__init__"] for base in cls.__mro__[:-1] if "__init__" in base.__dict__]
    names = list(inspect.signature(constructors[1]).parameters)[1:] if len(constructors) > 1 else []
    if not passes_on or len(values) > len(names) or set(names[: len(values)]) & set(signature.parameters):
        raise SpecError(f"{cls.__name__}: a Specified class must not take *{name}; name its arguments")
    return dict(zip(names, values, strict=False))


def make(cls: type[T], /, **init_args: Any) -> T:
    """Make an object of any class and remember how, so that a checkpoint can rebuild it.

    Use it for third-party classes; subclasses of :class:`Specified` need no help.

    Raises:
        TypeError: the path of a class, or arguments that it does not take.

    >>> import torch
    >>> from oahier.specs import describe
    >>> describe(make(torch.nn.PReLU, num_parameters=2))
    {'class_path': 'torch.nn.PReLU', 'init_args': {'num_parameters': 2}}
    """
    if not callable(cls):
        raise TypeError(f"make: expected the class itself, as in make(torch.nn.PReLU), got {cls!r}")
    instance = cls(**init_args)
    object.__setattr__(instance, "_init_arguments", init_args)
    return instance
