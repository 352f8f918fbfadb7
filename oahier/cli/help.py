"""Help texts of the commands, kept as files so that ``--help`` answers without loading any library.

``python -m oahier.cli.help`` writes them anew from the parsers; a test compares them.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oahier.files import write_atomically

FOLDER = Path(__file__).parent / "help"
_WIDTH = "100"
"""Columns of the texts."""

PARSERS: dict[str, tuple[str, str]] = {
    "benchmark": ("oahier.cli.benchmark", "benchmark_parser"),
    "change": ("oahier.cli.change", "change_parser"),
    "clinical": ("oahier.cli.clinical", "clinical_parser"),
    "compare": ("oahier.cli.compare", "compare_parser"),
    "init": ("oahier.cli.init", "init_parser"),
    "export": ("oahier.cli.export", "export_parser"),
    "predict": ("oahier.cli.predict", "predict_parser"),
    "study run": ("oahier.cli.study", "run_parser"),
    "study status": ("oahier.cli.study", "status_parser"),
    "study report": ("oahier.cli.study", "report_parser"),
    "study size": ("oahier.cli.study_size", "size_parser"),
    "data phantom": ("oahier.cli.data.phantom_command", "phantom_parser"),
    "data check": ("oahier.cli.data.check_command", "check_parser"),
    "data split": ("oahier.cli.data.split_command", "split_parser"),
    "data plan": ("oahier.cli.data.plan_command", "plan_parser"),
    "data cache": ("oahier.cli.data.cache_command", "cache_parser"),
    "data cartilage": ("oahier.cli.data.cartilage_command", "cartilage_parser"),
    "data readings": ("oahier.cli.data.readings_command", "readings_parser"),
    "data doubt": ("oahier.cli.data.doubt_command", "doubt_parser"),
}
"""Module and function of the parser of each command."""
TRAINING = ("fit", "validate", "test")
"""Commands whose parser has over a thousand lines of help; theirs is written by hand."""


def wanted_help(words: Sequence[str]) -> str | None:
    """The help that the words of a command line ask for; ``None`` where they ask for none, or for all.

    >>> wanted_help(["fit", "--config", "own.yaml"]) is None
    True
    """
    if not {"-h", "--help"} & set(words):
        return None
    for length in (3, 2, 1):
        path = FOLDER / (f"{'-'.join(words[:length])}.txt")
        plain = all(word.replace("-", "").isalnum() for word in words[:length])
        if len(words) > length and plain and path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def texts() -> dict[str, str]:
    """The help of every command as its parser has it now, by command."""
    from oahier.cli.data.import_command import IMPORTERS, import_parser, importer
    from oahier.cli.data.import_command import USAGE as import_usage
    from oahier.cli.study import USAGE as study_usage

    made: dict[str, Callable[[], Any]] = {
        name: getattr(importlib.import_module(module), function)
        for name, (module, function) in PARSERS.items()
    }
    found = {name: _formatted(parser) for name, parser in made.items()}
    found |= {"study": f"{study_usage}\n", "data import": f"{import_usage}\n"}
    for name in IMPORTERS:
        found[f"data import {name}"] = _formatted(functools.partial(import_parser, name, importer(name)))
    return found


def _formatted(parser: Callable[[], Any]) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        text: str = parser().format_help()
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main() -> None:
    """Write the help of every command whose parser has changed."""
    for name, text in texts().items():
        path = FOLDER / f"{name.replace(' ', '-')}.txt"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
            print(f"written: {path.name}")


if __name__ == "__main__":
    main()
