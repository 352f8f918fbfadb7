"""Overrides of a configuration by dotted names, joined such that the order of axes does not matter."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

Overrides = Mapping[str, Any]
"""Values by dotted name, such as ``{"model.encoder.init_args.width": 16}``."""


class PlanError(ValueError):
    """A study file that cannot be run; the message says which entry, and what was expected."""


def overridden(base: Mapping[str, Any], levels: Mapping[str, Overrides], where: str) -> dict[str, Any]:
    """A configuration with the overrides of one level of every axis.

    Sections are set before what lies in them, so ``model.heads`` of one axis and ``model.heads.kl`` of
    another give the same whichever axis comes first. A value that one axis sets and another replaces is an
    error, unless both set the same.

    Args:
        base: configuration below the overrides; it is not changed.
        levels: overrides by axis.
        where: what to call the configuration in an error.

    Raises:
        PlanError: two axes contradict each other, or a name leads into something without sections.

    >>> axes = {"width": {"model.encoder.width": 8}, "backbone": {"model.encoder": {"depth": 10}}}
    >>> overridden({}, axes, "cell 'a'")
    {'model': {'encoder': {'depth': 10, 'width': 8}}}
    """
    config = copy.deepcopy(dict(base))
    settings = [(key, value, axis) for axis, values in levels.items() for key, value in values.items()]
    settings.sort(key=lambda setting: setting[0].count("."))
    for index, (key, value, axis) in enumerate(settings):
        for later, given, other in settings[index + 1 :]:
            if other != axis and _replaces(later, given, key, value):
                raise PlanError(
                    f"{where}: axes {axis!r} ({key}) and {other!r} ({later}) set {later} to different "
                    "values, so one of them would be lost; set it by one axis only. Which heads are "
                    "probes is set by model.probes, beside model.heads"
                )
        set_value(config, key, copy.deepcopy(value))
    return config


def _replaces(later: str, given: Any, key: str, value: Any) -> bool:
    """True where a later setting takes away something that an earlier one has set."""
    if f"{later}.".startswith(f"{key}."):
        for section in later.removeprefix(key).split(".")[1:]:
            if isinstance(value, Mapping) and section not in value:
                return False
            value = value[section] if isinstance(value, Mapping) else None
        return not _holds(given, value)
    return False


def _holds(found: Any, expected: Any) -> bool:
    """True where all that was set is still there; a mapping may have got more entries."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return all(key in found and _holds(found[key], value) for key, value in expected.items())
    return bool(found == expected)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings, values of the second one first; a ``class_path`` is replaced whole.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    result = dict(below)
    for key, value in above.items():
        known = result.get(key)
        nested = isinstance(value, Mapping) and isinstance(known, Mapping) and "class_path" not in value
        result[key] = merged(known, value) if nested and isinstance(known, Mapping) else value
    return result


def with_named_probes(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose ``model.probes`` names every head that calls itself a probe (``probe: true``).

    The mark moves from the head to the list, where it stays if another head is put in its place.

    >>> head = {"class_path": "oahier.SoftmaxHead", "init_args": {"probe": True}}
    >>> with_named_probes({"model": {"heads": {"kl": head}}})["model"]
    {'heads': {'kl': {'class_path': 'oahier.SoftmaxHead', 'init_args': {}}}, 'probes': ['kl']}
    """
    made = copy.deepcopy(dict(config))
    model = made.get("model") or {}
    heads = model.get("heads") or {}
    marked = {name: arguments_of(head).pop("probe", False) for name, head in heads.items()}
    named = [name for name, probe in marked.items() if probe]
    if named or model.get("probes") is not None:
        model["probes"] = sorted({*(model.get("probes") or []), *named})
    return made


def arguments_of(component: Any) -> dict[str, Any]:
    """The ``init_args`` of a serial form; empty where it has none."""
    arguments = component.get("init_args") if isinstance(component, Mapping) else None
    return arguments if isinstance(arguments, dict) else {}


def set_value(config: dict[str, Any], key: str, value: Any) -> None:
    """Replace the value with a dotted name, making the sections above it where they do not exist.

    Raises:
        PlanError: a component of the name stands for something that has no sections.

    >>> config = {"model": {"encoder": "resnet3d"}}
    >>> set_value(config, "model.encoder", "m3t"); set_value(config, "data.batch_size", 2); config
    {'model': {'encoder': 'm3t'}, 'data': {'batch_size': 2}}
    """
    *sections, last = key.split(".")
    place = config
    for section in sections:
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
        if not isinstance(place, dict):
            raise PlanError(f"grid: {key!r}: {section!r} is {place!r}, which has no parts; replace it whole")
    place[last] = value
