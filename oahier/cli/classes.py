"""Classes of the model and the data that configurations and options name by ``class_path``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from oahier.model import HierarchicalClassifier
from oahier.model.section_classes import SECTIONS, named_classes, section_class
from oahier.specs.class_paths import path_of
from oahier.specs.errors import SpecError, yaml_reason


@dataclass(frozen=True)
class Classes:
    """What a command line trains, and on what.

    >>> Classes.named_by(["--model.class_path=oahier.model.ChangeModel"]).others()
    {'model': 'oahier.model.ChangeModel'}
    """

    model: type[HierarchicalClassifier]
    data: type[Any]

    @classmethod
    def named_by(cls, words: Sequence[str]) -> Classes:
        """The classes that the last configuration or option to name one names.

        Raises:
            SpecError: no such class, of a package that is not trusted, or one of another kind.
        """
        named: dict[str, str] = {}
        for option, value in options_of(words):
            if option == "--config":
                named |= _named_in_file(value)
            for section in SECTIONS:
                plain = option == f"--{section}" and is_class_path(value)
                if option == f"--{section}.class_path" or plain:
                    named[section] = value
        return cls(*(section_class(section, named.get(section)) for section in SECTIONS))

    def others(self) -> dict[str, str]:
        """Class paths by section, of the classes that are not what a section is without one."""
        own = {"model": self.model, "data": self.data}
        return {name: path_of(own[name]) for name, (usual, *_) in SECTIONS.items() if own[name] is not usual}


def options_of(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, written as two words or with an equals sign.

    >>> list(options_of(["--a=1", "--b", "2"]))
    [('--a', '1'), ('--b', '2')]
    """
    for position, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            yield option, value if equals else next(iter(words[position + 1 :]), "")


def without_classes(words: Sequence[str]) -> list[str]:
    """The words as the parser of known classes takes them: no class paths, no ``init_args`` of sections.

    >>> without_classes(["--data", "oahier.data.PairedVisits", "--data.init_args.steps=4"])
    ['--data.steps=4']
    """
    kept, remaining = [], iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        section = option.removeprefix("--").partition(".")[0]
        if option.startswith("--") and section in SECTIONS:
            if option == f"--{section}.class_path":
                _ = equals or next(remaining, "")
                continue
            if option == f"--{section}":
                value = value if equals else next(remaining, "")
                kept += [] if is_class_path(value) else [option, value]
                continue
            word = word.replace(f"--{section}.init_args.", f"--{section}.", 1)
        kept.append(word)
    return kept


def with_class(text: str, section: str, path: str) -> str:
    r"""The text of a configuration, its section naming a class above its arguments.

    >>> with_class("model:\n  encoder: m3t\n", "model", "mine.Model").splitlines()
    ['model:', '  class_path: mine.Model', '  init_args:', '    encoder: m3t']
    """
    lines = text.splitlines()
    if f"{section}:" not in lines:
        return text
    start = lines.index(f"{section}:") + 1
    end = start
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
    block = [f"  {line}" if line else line for line in lines[start:end]]
    made = [*lines[:start], f"  class_path: {path}", "  init_args:", *block, *lines[end:]]
    return "\n".join(made) + "\n"


def _named_in_file(path: str) -> dict[str, str]:
    """Class paths of a configuration; a file that is missing or no text is for the parser to refuse.

    Raises:
        SpecError: it is no YAML; names file, line and column.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SpecError(f"--config {path}: expected YAML: {yaml_reason(error)}") from error
    except (OSError, UnicodeDecodeError):
        return {}
    return named_classes(content) if isinstance(content, dict) else {}


def is_class_path(value: str) -> bool:
    """True where an option's value reads as the path of a class, and is no file.

    >>> is_class_path("oahier.model.ChangeModel"), is_class_path("resnet3d"), is_class_path("{depth: 10}")
    (True, False, False)
    """
    return "." in value and all(part.isidentifier() for part in value.split(".")) and not Path(value).exists()
