"""Configurations of cells: checked, completed, and made into a model, data and trainer arguments."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import LightningArgumentParser

from oahier.data import KneeMRIDataModule, PairedVisits
from oahier.model import HierarchicalClassifier
from oahier.model.section_classes import SECTIONS, section_class
from oahier.specs import current_paths, import_class, nearest
from oahier.specs.class_paths import path_of
from oahier.specs.recorded import constructor_signature
from oahier.specs.trust import in_words, restrict_parsers
from oahier.speed import Speed
from oahier.study.overrides import PlanError, arguments_of


def instantiate_data(config: Mapping[str, Any]) -> KneeMRIDataModule | PairedVisits:
    """Make only the data module of a resolved configuration."""
    parser = _parser(("data",), _classes(config))
    made = parser.instantiate_classes(_parsed(parser, {"data": config["data"]}))
    data: KneeMRIDataModule | PairedVisits = made.data
    return data


def compares_visits(config: Mapping[str, Any]) -> bool:
    """Whether a cell learns from pairs of visits, so that it has no knees to explain or to order."""
    return issubclass(section_class("data", (config.get("classes") or {}).get("data")), PairedVisits)


RUN_SECTIONS = ("seed_everything", "trainer", "model", "data", "speed")
"""Of the configuration of a run, as `oahier fit` takes them."""
_OPTIONAL = ("speed",)
"""Sections without a default: cells of earlier versions do not have them."""


@dataclass(frozen=True)
class Parts:
    """What a configuration describes."""

    model: HierarchicalClassifier
    data: KneeMRIDataModule | PairedVisits
    trainer: dict[str, Any]
    speed: Speed | Literal["none", "auto"] = "none"


Resolved = dict[str, str]
"""Completed sections by the sections that they were made of, both as text; cells of a grid share most."""


def resolve(config: Mapping[str, Any], name: str, known: Resolved | None = None) -> dict[str, Any]:
    """Check a configuration and fill in every default, without making anything.

    Args:
        config: sections ``seed_everything``, ``trainer``, ``model``, ``data``, perhaps ``speed``, and
            ``classes`` where model or data are of another class than usual
            (:func:`~oahier.model.section_classes.flat`).
        name: what to call it in an error.
        known: sections that were resolved before; new ones are added. A section is parsed in about 0.1 s.

    Raises:
        PlanError: an unknown key, a class that is not found, or a value of another type.
    """
    unknown = sorted(set(config) - {*RUN_SECTIONS, "classes"})
    if unknown:
        raise PlanError(
            f"{name}: unknown section {unknown[0]!r}; expected {', '.join(RUN_SECTIONS)}."
            f"{nearest(unknown[0], RUN_SECTIONS)}"
        )
    known = {} if known is None else known
    content: dict[str, Any] = {}
    try:
        classes = _classes(config)
    except ValueError as error:
        raise PlanError(f"{name}: {error}") from error
    for section in RUN_SECTIONS:
        given = {section: config[section]} if section in config else {}
        if section in _OPTIONAL and not given:
            continue
        key = section + json.dumps([given, classes], default=str)
        try:
            if key not in known:
                parser = _parser((section,), classes)
                known[key] = json.dumps(yaml.safe_load(parser.dump(_parsed(parser, given), skip_none=False)))
            content |= json.loads(known[key])
            _import_classes(content[section])
        except (ArgumentError, ValueError, TypeError, KeyError) as error:
            raise PlanError(f"{name}: {str(error).strip()}") from error
    return content | ({"classes": dict(classes)} if classes else {})


def instantiate(config: Mapping[str, Any]) -> Parts:
    """Make the model and the data module, and the arguments of the trainer with their objects."""
    parser = _parser(RUN_SECTIONS, _classes(config))
    parsed = _parsed(parser, {name: part for name, part in config.items() if name != "classes"})
    specification = parsed.model.clone().as_dict()
    made = parser.instantiate_classes(parsed)
    made.model.remember(specification)
    return Parts(made.model, made.data, made.trainer.as_dict(), made.speed)


def probes(config: Mapping[str, Any]) -> list[str]:
    """Names of the heads whose loss does not reach the encoder.

    A head that reads a probe is one itself.
    """
    model = config["model"]
    arguments = {name: arguments_of(head) for name, head in model["heads"].items()}
    found = {name for name, given in arguments.items() if given.get("probe")} | {*(model.get("probes") or [])}
    for _ in arguments:  # heads may read each other in a chain
        found |= {name for name, given in arguments.items() if given.get("reads") in found}
    return [name for name in arguments if name in found]


def _import_classes(value: Any) -> None:
    """Find every class that is named anywhere in a configuration, and see that it takes its arguments."""
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            made = import_class(value["class_path"])
            try:
                constructor_signature(made).bind_partial(**(value.get("init_args") or {}))
            except TypeError as error:
                raise PlanError(f"{value['class_path']}: {error}") from error
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _import_classes(item)


def _parsed(parser: LightningArgumentParser, config: Mapping[str, Any]) -> Namespace:
    """A copy of the sections as the parser understands them; it imports from trusted packages only.

    Raises:
        PlanError: what the parser says, and how to trust a package.
    """
    restrict_parsers()
    try:
        parsed: Namespace = parser.parse_object(current_paths(config))
    except (ArgumentError, ImportError) as error:
        raise PlanError(in_words(str(error).strip())) from error
    return parsed


def _classes(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Sections whose class is not the usual one, with its path.

    Raises:
        SpecError: no such class, or one of another kind.
    """
    named = {name: section_class(name, path) for name, path in (config.get("classes") or {}).items()}
    return tuple((name, path_of(one)) for name, one in sorted(named.items()) if one is not SECTIONS[name][0])


@functools.cache
def _parser(sections: tuple[str, ...], classes: tuple[tuple[str, str], ...]) -> LightningArgumentParser:
    """A parser of these sections; none of them refers to another."""
    parser, named = LightningArgumentParser(exit_on_error=False), dict(classes)
    if "seed_everything" in sections:
        parser.add_argument("--seed_everything", type=int, default=0)
    if "trainer" in sections:
        parser.add_class_arguments(L.Trainer, "trainer", instantiate=False)
    for section in SECTIONS:
        if section in sections:
            parser.add_lightning_class_args(section_class(section, named.get(section)), section)
    if "speed" in sections:
        parser.add_argument("--speed", type=Literal["none", "auto"] | Speed, default="none")
    return parser
