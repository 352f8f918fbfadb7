"""``oahier data phantom``."""

from __future__ import annotations

from oahier.cli.next_steps import say_next
from oahier.cli.parser import ArgumentParser, function_parser
from oahier.phantom import make_phantoms


def phantom_parser() -> ArgumentParser:
    """The parser of the command."""
    return function_parser("oahier data phantom", make_phantoms, {"folder": "FOLDER"})


def run(words: list[str]) -> int:
    """Write phantoms and say where their manifest is."""
    manifest = make_phantoms(**phantom_parser().parse_args(words).as_dict())
    print(f"{len(manifest)} phantom knees: {manifest.path}")
    say_next(
        (["data", "check", manifest.path, "--html", "audit.html"], "look at the cohort"),
        (["init", "--manifest", manifest.path], "configurations to train with"),
    )
    return 0
