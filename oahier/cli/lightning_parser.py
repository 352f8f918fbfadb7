"""Lightning's option parser with short errors, understanding the class paths of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from oahier.cli.classes import with_class
from oahier.cli.parser import fail, plain
from oahier.model.section_classes import SECTIONS, without_class
from oahier.specs import current_paths

MODE = "oahier"
"""Parser mode: YAML in which the class paths of earlier versions are understood."""


class LightningParser(LightningArgumentParser):
    """Lightning's parser, whose errors are one line that names the option."""

    command = "oahier"
    """The command that is typed; parsers of the options of a class do not know it."""
    named: ClassVar[Mapping[str, str]] = {}
    """Class paths by section, which a configuration that is written names above the arguments."""

    @override
    def dump(self, *arguments: Any, **options: Any) -> str:
        text: str = super().dump(*arguments, **options)
        for section, path in LightningParser.named.items():
            text = with_class(text, section, path)
        return text

    @override
    def format_help(self, *arguments: Any, **options: Any) -> str:
        for action in self._actions:  # help of arguments comes from docstrings, which are marked up
            action.help = plain(action.help) if action.help else action.help
        text: str = super().format_help(*arguments, **options)
        return text

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if "arguments are required" in message:
            message += "; a configuration has them: --config FILE (oahier init writes some)"
        fail(self, message)


def understand_earlier_paths() -> None:
    """Register :data:`MODE`."""
    set_loader(MODE, _load_current, (yaml.YAMLError,))


def current_word(word: str) -> str:
    """A word of the command line with the class path of today."""
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{current_paths(value)}"


def _load_current(text: str) -> Any:
    content = current_paths(get_loader("yaml")(text))
    if isinstance(content, dict):
        for section in SECTIONS.keys() & content.keys():
            content[section] = without_class(section, content[section])
    if text.startswith("# lightning") and isinstance(content, dict) and "verbose" not in content:
        content.pop("ckpt_path", None)  # what a fit was resumed from, as earlier versions kept it
    return content
