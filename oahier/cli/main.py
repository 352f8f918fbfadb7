"""Entry point of the command line: Lightning's commands for training, and the data tools."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from oahier.cli.help import TRAINING, wanted_help
from oahier.cli.options import INTERRUPTED, TERMINATED, no_command
from oahier.interrupts import ended_by_sigterm, interruption

_USAGE = """usage: oahier COMMAND [options]

  init                           write configurations to start from
  fit, validate, test            train and test a model  (oahier fit --help)
  predict                        grade new scans         (oahier predict --help)
  export                         write a model for other tools, with a model card
  data phantom                   write phantom knees     (oahier data phantom --help)
  data import                    make a manifest from a data set on disk
  data check                     audit a manifest and its files
  data split                     assign subjects to training, validation and test
  data plan                      propose volume size, batch, network and epochs
  data cache                     preprocess knees ahead of training
  data cartilage                 measure the cartilage in the label maps, as columns
  data readings                  compare readers, estimate how they err, write the consensus
  data doubt                     find doubtful training labels
  compare                        compare two models from their prediction files
  change                         how a score changes over visits, and what follows
  clinical                       calibration, net benefit and subgroups of a prediction file
  study run, status, report      run a grid of configurations and report it
  study size                     knees and seeds that a difference needs
  benchmark                      what an epoch takes here, and whether data bound it
  completion bash, zsh           a script by which a shell completes commands and options

Every command takes --trust PACKAGE (more than once if need be): a package of yours that a configuration or
checkpoint names classes of. From other packages nothing is imported.
"""

_COMMANDS = {
    "benchmark": ("oahier.cli.benchmark", "run_benchmark_command"),
    "completion": ("oahier.cli.completion", "run_completion_command"),
    "change": ("oahier.cli.change", "run_change_command"),
    "clinical": ("oahier.cli.clinical", "run_clinical_command"),
    "compare": ("oahier.cli.compare", "run_compare_command"),
    "data": ("oahier.cli.data", "run_data_command"),
    "init": ("oahier.cli.init", "run_init_command"),
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
    if words[:1] in ([], ["-h"], ["--help"], ["help"]):
        print(_USAGE)
        return 0
    text = wanted_help(words)
    if text is not None:
        print(text, end="")
        return 0
    if words[0] in ("--version", "version"):
        from oahier import __version__

        print(f"oahier {__version__}")
        return 0
    if words[0] in _COMMANDS:
        module, function = _COMMANDS[words[0]]
        return _reported(getattr(importlib.import_module(module), function), words[1:])
    if words[0].startswith("-"):
        print(
            f"oahier: error: expected a command before {words[0]}, such as fit (commands: oahier --help)",
            file=sys.stderr,
        )
        return 2
    if words[0] not in TRAINING:
        return no_command(words[0], (*_COMMANDS, *TRAINING), "oahier")
    if len(words) == 1:
        file = "FILE (oahier init writes one)" if words[0] == "fit" else "RUN/config.yaml"
        print(
            f"oahier {words[0]}: error: expected --config {file} (options: oahier {words[0]} --help)",
            file=sys.stderr,
        )
        return 2
    from oahier.cli.training import run_training_command

    return _reported(run_training_command, ["--help" if word == "--help-all" else word for word in words])


@ended_by_sigterm()
def _reported(command: Callable[[list[str]], int], words: list[str]) -> int:
    """Say expected errors in one line; anything else keeps its traceback."""
    from oahier.cli.wording import is_ours

    try:
        with _trusted(words) as others:
            return command([word for word in others if word != "--traceback"])
    except BaseException as error:
        asked = interruption(error)  # Lightning makes SystemExit of Ctrl-C
        if asked:
            return _stopped(asked)
        expected = isinstance(error, (ValueError, OSError, KeyError, ImportError, TypeError)) and is_ours(
            error
        )
        wrong_options = (
            type(error).__name__ == "MisconfigurationException"
        )  # Lightning's, which is slow to import
        if "--traceback" in words or not (expected or wrong_options or _is_of_the_disk(error)):
            raise
        print(f"oahier: error: {_words(error)}", file=sys.stderr)
        return 2


def _stopped(ended: BaseException) -> int:
    by_user = isinstance(ended, KeyboardInterrupt)
    how = str(ended) or "run the same command again to go on"
    print(f"\noahier: {'interrupted' if by_user else 'stopped by SIGTERM'}; {how}", file=sys.stderr)
    return INTERRUPTED if by_user else TERMINATED


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


def _words(error: BaseException) -> str:
    """The message without the quotes of a KeyError, and without the number of the system's error."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _is_of_the_disk(error: BaseException) -> bool:
    """True where the system names a file that is not as it should be, or a disk is full."""
    return isinstance(error, OSError) and (
        error.filename is not None
        or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
    )
