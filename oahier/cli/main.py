"""Entry point of the command line: Lightning's commands for training, and the data tools."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oahier.cli.options import INTERRUPTED

_USAGE = """usage: oahier COMMAND [options]

  fit, validate, test            train and test a model  (oahier fit --help)
  predict                        grade new scans         (oahier predict --help)
  export                         write a model for other tools, with a model card
  data phantom                   write phantom knees     (oahier data phantom --help)
  data import                    make a manifest from a data set on disk
  data check                     audit a manifest and its files
  data split                     assign subjects to training, validation and test
  data cache                     preprocess knees ahead of training
  compare                        compare two models from their prediction files
  study run, status, report      run a grid of configurations and report it

Every command takes --trust PACKAGE (more than once if need be): a package of yours that a configuration or
checkpoint names classes of. From other packages nothing is imported.
"""

_COMMANDS = {
    "compare": ("oahier.cli.compare", "run_compare_command"),
    "data": ("oahier.cli.data", "run_data_command"),
    "export": ("oahier.cli.export", "run_export_command"),
    "predict": ("oahier.cli.predict", "run_predict_command"),
    "study": ("oahier.cli.study", "run_study_command"),
}
"""Module and function of each command that Lightning does not know."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors that a user can act on end in one line and exit status 2.

    Args:
        arguments: the words after ``oahier``; those of the process when not given.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in ([], ["-h"], ["--help"]):
        print(_USAGE)
        return 0
    if words[0] == "--version":
        from oahier import __version__

        print(f"oahier {__version__}")
        return 0
    if words[0] in _COMMANDS:
        module, function = _COMMANDS[words[0]]
        return _reported(getattr(importlib.import_module(module), function), words[1:])
    from oahier.cli.training import run_training_command

    return _reported(run_training_command, words)


def _reported(command: Callable[[list[str]], int], words: list[str]) -> int:
    """Say expected errors in one line; anything else keeps its traceback."""
    try:
        with _trusted(words) as others:
            return command(others)
    except KeyboardInterrupt:
        print("\noahier: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, KeyError, ImportError, TypeError) as error:
        if "--traceback" in words or not _is_ours(error):
            raise
        print(f"oahier: error: {_words(error)}", file=sys.stderr)
        return 2


@contextmanager
def _trusted(words: list[str]) -> Iterator[list[str]]:
    """The words without ``--trust PACKAGE``; the packages are trusted meanwhile, by other processes too."""
    others, packages, rest = [], [], iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--trust":
            packages.append(value if equals else next(rest, ""))
        else:
            others.append(word)
    if not packages:
        yield others
        return
    if any(not package or package.startswith("-") for package in packages):
        raise ValueError("--trust: expected the name of a package after it, such as --trust mynet")
    from oahier.specs.trust import ENVIRONMENT

    before = os.environ.get(ENVIRONMENT, "")
    os.environ[ENVIRONMENT] = ",".join([*packages, before])
    try:
        yield others
    finally:
        os.environ[ENVIRONMENT] = before


def _words(error: Exception) -> str:
    """The message without the quotes of a KeyError, and without the number of the system's error."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _is_ours(error: BaseException) -> bool:
    """True where the error was raised by this package, whose messages say what to do."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__", "") if traceback else ""
    return str(module).split(".")[0] == "oahier"
