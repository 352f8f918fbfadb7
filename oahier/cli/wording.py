"""One-line forms of the error messages of option parsers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from oahier.specs.errors import nearest
from oahier.specs.trust import in_words

_KEY = re.compile(r'^Parser key "([^"]+)":\s*')
_GIVEN = re.compile(r"\n\s*Given value type: .*?\n\s*Given value: (.*)\Z", re.DOTALL)
_LITERAL = re.compile(r"typing\.Literal\[(.*?)\]")
_CLASS = re.compile(r"<class ['\"](?:[\w.]*\.)?(\w+)['\"]>")
_TYPES = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "NoneType": "null",
    "dict": "a mapping", "list": "a list", "tuple": "a list",
}  # fmt: skip
_FIELDS = {"oahier.speed.choice.Speed": "fields such as {channels_last: true}"}
"""Types that are written as a mapping, and how; others are class paths."""
_SUBCLASSES = re.compile(r"\n\s*Subclass types expect one of:(?:\n\s*- .*)+")
_UNKNOWN = re.compile(r"(?:does not accept option|Option) '([^']+)'(?: is not accepted)?$")
_LONGEST = 200
"""Characters of a given value that a message repeats."""


def one_line(message: str) -> str:
    """An error message of jsonargparse in one line.

    >>> one_line('Parser key "trainer.max_epochs": Expected a <class "int">. Got value: two')
    "--trainer.max_epochs: expected a whole number, got 'two'"
    """
    message = re.sub(r"\b(fit|validate|test)\.(?=data|model|trainer)", "--", in_words(message).strip())
    key = _KEY.match(message)
    rest = message[key.end() :] if key else message
    option = f"--{key[1]}: " if key else ""
    if not option and "\n" not in rest and "Expected" not in rest:
        return rest
    given = _GIVEN.search(rest)
    value = f", got {_short(given[1])}" if given else ""
    of_a_class = next((words for path, words in _FIELDS.items() if path in rest), "a class path")
    rest = _SUBCLASSES.sub("", _GIVEN.sub("", rest))
    found = [" ".join(item.split()) for item in re.split(r"(?:\A|\n)\s*- ", rest)]
    found = [re.sub(r"^Does not validate against any .*?(Errors:|$)", "", item).strip() for item in found]
    found = [item for item in dict.fromkeys(found) if item and not item.startswith("Expected a path but")]
    reasons = [item for item in found if not _names_a_type(item)]
    if reasons:
        return option + "; ".join(reasons)
    single = re.search(r"Expected an? (.*?)\. Got value: (.*)$", found[0]) if len(found) == 1 else None
    if single:
        return f"{option}expected {_type(single[1])}, got {_short(single[2])}"
    names = [re.sub(r"^Expected an? |:.*$", "", item) for item in found]
    types = dict.fromkeys(of_a_class if _is_a_class(name) else _type(name) for name in names)
    return f"{option}expected {_either(types)}{value}"


def with_suggestion(message: str, options: Iterable[str]) -> str:
    """A message of an option that there is not, with the nearest of those that there are.

    >>> with_suggestion("Subcommand 'fit' does not accept option 'data.batchsize'", ["--data.batch_size"])
    "there is no option 'data.batchsize'. Did you mean 'data.batch_size'?"
    >>> with_suggestion("unrecognized arguments: --manfest x", ["--manifest", "--plan"])
    "there is no option '--manfest'. Did you mean '--manifest'?"
    >>> with_suggestion("unrecognized arguments: own_data.yaml", [])
    'unrecognized arguments: own_data.yaml; a configuration is given as --config own_data.yaml'
    """
    unknown = _UNKNOWN.search(message)
    if unknown:
        known = [option.removeprefix("--") for option in options]
        return f"there is no option {unknown[1]!r}.{nearest(unknown[1], known)}"
    words = message.removeprefix("unrecognized arguments: ")
    first = words.split()[0].partition("=")[0]
    if words != message and first.startswith("--"):
        return f"there is no option {first!r}.{_nearest_option(first, options)}"
    if words != message and first.endswith((".yaml", ".yml")):
        return f"{message}; a configuration is given as --config {first}"
    return message


def _nearest_option(option: str, known: Iterable[str]) -> str:
    """As :func:`nearest`, without counting the hyphens that every option begins with."""
    near = nearest(option.removeprefix("--"), [name.removeprefix("--") for name in known])
    return re.sub(r"'([^']+)'", r"'--\1'", near)


def is_ours(error: BaseException) -> bool:
    """True where the error was raised by this package, whose messages say what to do."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__", "") if traceback else ""
    return str(module).split(".")[0] == "oahier"


def _names_a_type(reason: str) -> bool:
    return reason.startswith(
        ("Expected a <class", "Expected a typing", "Expected a dot import", "Expected a dict")
    ) or bool(re.fullmatch(r"Not a valid subclass of \w+", reason))


def _is_a_class(name: str) -> bool:
    return name.startswith(("dot import path", "Not a valid subclass"))


def _type(name: str) -> str:
    literal = _LITERAL.search(name)
    if literal:
        return f"one of {literal[1]}"
    known = _CLASS.search(name)
    return _TYPES.get(known[1], known[1]) if known else name


def _either(types: Iterable[str]) -> str:
    *first, last = types
    return f"{', '.join(first)} or {last}" if first else last


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")
