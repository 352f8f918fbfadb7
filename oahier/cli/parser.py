"""Option parsers whose errors are one line, without the usage."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn, get_type_hints

import jsonargparse
from docstring_parser import parse
from jsonargparse import ActionYesNo
from typing_extensions import override

from oahier.cli.wording import one_line, with_suggestion


class ArgumentParser(jsonargparse.ArgumentParser):
    """jsonargparse's parser with short errors."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        fail(self, message)


class PlainParser(argparse.ArgumentParser):
    """The standard library's parser with short errors, a description as it is written, ``--traceback``."""

    def __init__(self, prog: str, description: str) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=form)
        self.add_argument("--traceback", action="store_true", help="show where an error came from")

    @override
    def error(self, message: str) -> NoReturn:
        fail(self, message)


def function_parser(
    prog: str,
    function: Callable[..., Any],
    positional: Mapping[str, str],
    shared: Callable[..., Any] | None = None,
) -> ArgumentParser:
    """A parser with the options that a function has, described as its docstring does.

    Args:
        prog: the command.
        function: its annotated parameters become options, with hyphens in the place of underscores.
        positional: parameters that are words without an option, and how the help names them.
        shared: function or class with the options that ``function`` takes as further keyword arguments.
    """
    parser = ArgumentParser(prog=prog, description=plain(parse(function.__doc__ or "").description or ""))
    for one in (function, *([shared] if shared else [])):
        _add_options(parser, one, positional)
    return parser


def _add_options(parser: ArgumentParser, function: Callable[..., Any], positional: Mapping[str, str]) -> None:
    document = parse(function.__doc__ or "")
    texts = {item.arg_name: " ".join((item.description or "").split()) for item in document.params}
    annotations = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    names = getattr(inspect.unwrap(function), "__globals__", vars(sys.modules[function.__module__]))
    hints = get_type_hints(SimpleNamespace(__annotations__=annotations), names)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        text = plain(texts.get(parameter.name, "")).replace("%", "%%")
        if parameter.name in positional:
            parser.add_argument(
                parameter.name, metavar=positional[parameter.name], type=hints[parameter.name], help=text
            )
            continue
        extra: dict[str, Any] = {"type": hints[parameter.name]}
        if hints[parameter.name] is bool:
            extra = {"action": ActionYesNo(no_prefix="no-")}
        needed = (
            {"required": True} if parameter.default is parameter.empty else {"default": parameter.default}
        )
        parser.add_argument(f"--{parameter.name.replace('_', '-')}", help=text, **extra, **needed)


def plain(text: str) -> str:
    """A docstring's text without its marks.

    >>> plain("a :class:`~oahier.Manifest`, see ``shape``")
    'an oahier.Manifest, see shape'
    """
    unmarked = re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("`", "")
    return re.sub(r"\b([Aa]) (?=oahier\.)", r"\1n ", unmarked)


def fail(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Print an error in one line and exit with status 2."""
    command = parser.prog.replace(" [options]", "")
    of_a_class = not command.startswith("oahier ")  # its parser does not know before what its options stand
    command = getattr(parser, "command", "oahier") if of_a_class else command
    before, told, names = message.partition("the following arguments are required: ")
    if told:
        message = before + told + ", ".join(_option(parser, name) for name in names.split(", "))
    said = with_suggestion(one_line(message), _options(parser)).removeprefix("--" * of_a_class)
    parser.exit(2, f"{command}: error: {said} (options: {command} --help)\n")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a parser and of its commands, as they are typed."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            found += [name for other in action.choices.values() for name in _options(other)]
    return found


def _option(parser: argparse.ArgumentParser, name: str) -> str:
    """An argument as it is typed: with hyphens if it is an option."""
    for action in parser._actions:
        if action.dest == name:
            return action.option_strings[-1] if action.option_strings else str(action.metavar or name)
    return name
