"""Public dotted paths of classes, and their import from trusted packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from oahier.public import PUBLIC
from oahier.specs.errors import MissingClassError, SpecError, nearest
from oahier.specs.old_paths import OLD_PATHS
from oahier.specs.trust import how_to_trust, is_trusted


def class_path(cls: type | FunctionType) -> str:
    """The shortest public path of a class or function, so that the file it stands in may move.

    For a class of this library that is ``oahier.Name`` or ``oahier.room.Name``, for others that of the
    outermost package that has it.

    >>> from oahier.heads.softmax import SoftmaxHead
    >>> class_path(SoftmaxHead)
    'oahier.SoftmaxHead'

    Raises:
        SpecError: it was made inside a function, or is a lambda, and cannot be imported.
    """
    if "<" in cls.__qualname__:
        kind = "class" if isinstance(cls, type) else "function"
        raise SpecError(
            f"{kind} {cls.__qualname__!r} is defined inside a function and cannot be imported again; "
            "move it to the top level of a module"
        )
    return next(_public_paths(cls), f"{cls.__module__}.{cls.__qualname__}")


def path_of(cls: type) -> str:
    """:func:`class_path`, or for a class that cannot be imported again the path that it has."""
    try:
        return class_path(cls)
    except SpecError:
        return f"{cls.__module__}.{cls.__qualname__}"


def _public_paths(cls: type | FunctionType) -> Iterator[str]:
    parts = cls.__module__.split(".")
    ours, (name, *inner) = parts[0] == "oahier", cls.__qualname__.split(".")
    if ours and PUBLIC.get(name) == ".".join(parts[:2]) and getattr(sys.modules["oahier"], name) is cls:
        yield f"oahier.{name}"
    for count in range(1 + ours, len(parts)):
        package = sys.modules.get(".".join(parts[:count]))
        if ours and name not in getattr(package, "__all__", ()):
            continue
        found: Any = getattr(package, name) if ours else _member(package, name)
        for part in inner:
            found = _member(found, part)
        if found is cls:
            yield f"{'.'.join(parts[:count])}.{cls.__qualname__}"


def import_class(path: str) -> type:
    """Import a class by dotted path; a bare name is looked up among oahier's public names.

    Nothing is imported from a package that is not trusted (see :mod:`oahier.specs.trust`). A class that this
    process has imported already is found without importing anything.

    Raises:
        SpecError: with the nearest existing names, or how to trust the package.
    """
    found, owner = import_member(path)
    if not isinstance(found, type):
        name = path.rpartition(".")[2]
        elsewhere = _of_that_name(name) if getattr(owner, "__name__", "").startswith("oahier") else ""
        hint = f" Did you mean {elsewhere!r}?" if elsewhere else nearest(name, dir(owner))
        raise SpecError(f"class_path {path!r} does not name a class.{hint}")
    return found


def _of_that_name(name: str) -> str:
    """Public path of the library's class of that name, in whatever case, empty where there is none."""
    rooms: dict[str, Iterable[str]] = {"oahier": PUBLIC}
    for room in set(PUBLIC.values()):
        rooms[room] = getattr(importlib.import_module(room), "__all__", ())
    known = [
        f"{room}.{each}" for room, names in rooms.items() for each in names if each.lower() == name.lower()
    ]
    return min(known, key=len, default="")


def import_function(path: str) -> FunctionType | None:
    """The function that a path names, ``None`` if it names a class or nothing.

    Raises:
        MissingClassError: the user has not named its package (see :mod:`oahier.specs.trust`).
    """
    found, _ = import_member(path)
    if not isinstance(found, FunctionType):
        return None
    if not is_trusted(path, by_name=True):
        raise MissingClassError(f"function {path!r}: {how_to_trust(path)}")
    return found


def import_member(path: str) -> tuple[Any, Any]:
    """What a path names, ``None`` where there is nothing of that name, and the module or class that holds it.

    Raises:
        MissingClassError: the package is not trusted, or its module cannot be imported.
    """
    if not all(part.isidentifier() for part in path.split(".")):
        raise SpecError(
            f"class_path {path!r} does not name a class and cannot be imported: expected a dotted path "
            "such as 'oahier.SoftmaxHead'"
        )
    module_path, _, name = OLD_PATHS.get(path, path).rpartition(".")
    module_path = module_path or "oahier"
    if not is_trusted(f"{module_path}.{name}"):
        owner = _loaded(module_path)
        if owner is None:
            raise MissingClassError(f"class_path {path!r}: {how_to_trust(path)}")
        return _member(owner, name), owner
    try:
        owner = _import_owner(module_path)
    except (ImportError, TypeError, ValueError) as error:
        raise MissingClassError(
            f"class_path {path!r}: module {module_path!r} cannot be imported ({error})"
        ) from error
    return getattr(owner, name, None), owner


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


def _loaded(path: str) -> Any:
    """The module or class of that path, if the process has it; looking runs no code."""
    if path in sys.modules:
        return sys.modules[path]
    outer, _, name = path.rpartition(".")
    found = _member(_loaded(outer), name) if outer else None
    return found if isinstance(found, type) else None


def _member(owner: Any, name: str) -> Any:
    return getattr(owner, "__dict__", {}).get(name)
