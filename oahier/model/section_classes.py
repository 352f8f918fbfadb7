"""Classes of model and data that sections of a configuration name by ``class_path``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oahier.data import KneeMRIDataModule, PairedVisits
from oahier.model.classifier import HierarchicalClassifier
from oahier.specs import current_paths, import_class
from oahier.specs.class_paths import path_of
from oahier.specs.errors import SpecError

SECTIONS: dict[str, tuple[type, ...]] = {
    "model": (HierarchicalClassifier,),
    "data": (KneeMRIDataModule, PairedVisits),
}
"""Sections that may name a class, with what that has to be; the first one where nothing is named."""


def without_class(section: str, content: Any) -> Any:
    """A section of a configuration as the arguments of its class, whether it names the class or not.

    Raises:
        SpecError: arguments beside ``class_path`` and ``init_args``.
    """
    if not isinstance(content, dict) or "class_path" not in content:
        return content
    beside = sorted(set(content) - {"class_path", "init_args"})
    if beside:
        raise SpecError(
            f"{section}: expected class_path and init_args alone, got {beside[0]!r} beside them; arguments "
            "of the class stand below init_args"
        )
    return content.get("init_args") or {}


def named_classes(config: Mapping[str, Any]) -> dict[str, str]:
    """Class paths by section, as far as a configuration names them."""
    found = {name: config[name] for name in SECTIONS if isinstance(config.get(name), Mapping)}
    return {name: str(part["class_path"]) for name, part in found.items() if part.get("class_path")}


def section_class(section: str, path: str | None) -> type[Any]:
    """The class of a section, the usual one where none is named.

    Raises:
        SpecError: no such class, of a package that is not trusted, or one of another kind.
    """
    allowed = SECTIONS[section]
    if path is None:
        return allowed[0]
    found = import_class(current_paths(path))
    if not issubclass(found, allowed):
        wanted = " or ".join(path_of(one) for one in allowed)
        raise SpecError(f"--{section}.class_path: expected {wanted} or a subclass, got {path}")
    return found


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose sections are the arguments of their classes, named in ``classes``.

    >>> flat({"model": {"class_path": "mine.Model", "init_args": {"encoder": "m3t"}}})
    {'model': {'encoder': 'm3t'}, 'classes': {'model': 'mine.Model'}}
    """
    classes = {**(config.get("classes") or {}), **named_classes(config)}
    made = {name: without_class(name, part) if name in SECTIONS else part for name, part in config.items()}
    return {**made, "classes": classes} if classes else made


def nested(config: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`flat`, as ``oahier fit`` takes it.

    >>> nested({"model": {"encoder": "m3t"}, "classes": {"model": "mine.Model"}})
    {'model': {'class_path': 'mine.Model', 'init_args': {'encoder': 'm3t'}}}
    """
    classes = config.get("classes") or {}
    return {
        name: {"class_path": classes[name], "init_args": part} if name in classes else part
        for name, part in config.items()
        if name != "classes"
    }


def flat_overrides(key: str, value: Any) -> dict[str, Any]:
    """The override of a dotted name in a configuration, in its flat form.

    >>> flat_overrides("model.init_args.encoder", "m3t"), flat_overrides("data.class_path", "mine.Data")
    ({'model.encoder': 'm3t'}, {'classes.data': 'mine.Data'})
    """
    section, _, rest = key.partition(".")
    if section not in SECTIONS:
        return {key: value}
    if rest == "class_path":
        return {f"classes.{section}": value}
    if not rest:
        made = flat({section: value})
        return {
            section: made[section],
            **{f"classes.{name}": path for name, path in made.get("classes", {}).items()},
        }
    return {f"{section}.{rest.removeprefix('init_args.')}": value}
