"""Configurations of cells: checked, completed, and made into a model, data and trainer arguments."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import LightningArgumentParser

from oahier.data import KneeMRIDataModule
from oahier.model import HierarchicalClassifier
from oahier.specs import current_paths, import_class, nearest
from oahier.specs.recorded import constructor_signature
from oahier.specs.trust import in_words, restrict_parsers
from oahier.study.overrides import PlanError, arguments_of


def instantiate_data(section: Mapping[str, Any]) -> KneeMRIDataModule:
    """Make only the data module, from its section of a resolved configuration."""
    parser = _parser("data")
    made = parser.instantiate_classes(_parsed(parser, {"data": section}))
    data: KneeMRIDataModule = made.data
    return data


_SECTIONS = ("seed_everything", "trainer", "model", "data")


@dataclass(frozen=True)
class Parts:
    """What a configuration describes."""

    model: HierarchicalClassifier
    data: KneeMRIDataModule
    trainer: dict[str, Any]


Resolved = dict[str, str]
"""Completed sections by the sections that they were made of, both as text; cells of a grid share most."""


def resolve(config: Mapping[str, Any], name: str, known: Resolved | None = None) -> dict[str, Any]:
    """Check a configuration and fill in every default, without making anything.

    Args:
        config: sections ``seed_everything``, ``trainer``, ``model``, ``data``.
        name: what to call it in an error.
        known: sections that were resolved before; new ones are added. A section is parsed in about 0.1 s.

    Raises:
        PlanError: an unknown key, a class that is not found, or a value of another type.
    """
    unknown = sorted(set(config) - set(_SECTIONS))
    if unknown:
        raise PlanError(
            f"{name}: unknown section {unknown[0]!r}; expected {', '.join(_SECTIONS)}."
            f"{nearest(unknown[0], _SECTIONS)}"
        )
    known = {} if known is None else known
    content: dict[str, Any] = {}
    for section in _SECTIONS:
        given = {section: config[section]} if section in config else {}
        key = section + json.dumps(given, default=str)
        try:
            if key not in known:
                parser = _parser(section)
                known[key] = json.dumps(yaml.safe_load(parser.dump(_parsed(parser, given), skip_none=False)))
            content |= json.loads(known[key])
            _import_classes(content[section])
        except (ArgumentError, ValueError, TypeError, KeyError) as error:
            raise PlanError(f"{name}: {str(error).strip()}") from error
    return content


def instantiate(config: Mapping[str, Any]) -> Parts:
    """Make the model and the data module, and the arguments of the trainer with their objects."""
    parser = _parser(*_SECTIONS)
    parsed = _parsed(parser, config)
    specification = parsed.model.clone().as_dict()
    made = parser.instantiate_classes(parsed)
    made.model.remember(specification)
    return Parts(made.model, made.data, made.trainer.as_dict())


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


@functools.cache
def _parser(*sections: str) -> LightningArgumentParser:
    """A parser of these sections; none of them refers to another."""
    parser = LightningArgumentParser(exit_on_error=False)
    if "seed_everything" in sections:
        parser.add_argument("--seed_everything", type=int, default=0)
    if "trainer" in sections:
        parser.add_class_arguments(L.Trainer, "trainer", instantiate=False)
    if "model" in sections:
        parser.add_lightning_class_args(HierarchicalClassifier, "model")
    if "data" in sections:
        parser.add_lightning_class_args(KneeMRIDataModule, "data")
    return parser
