"""Lines with which a command ends: the commands that go on from what it wrote."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

Step = tuple[Sequence[object], str]
"""Words after ``oahier``, and what they do."""


def next_steps(*steps: Step) -> str:
    """Commands to type next, with comments that start in one column.

    >>> print(next_steps((["data", "check", "my knees.csv"], "look for errors"), (["--help"], "others")))
    next:
      oahier data check 'my knees.csv'  # look for errors
      oahier --help                     # others
    """
    commands = [f"oahier {shlex.join(map(str, words))}" for words, _ in steps]
    width = max(map(len, commands))
    shown = (f"  {command:<{width}}  # {why}" for command, (_, why) in zip(commands, steps, strict=True))
    return "\n".join(["next:", *shown])


def say_next(*steps: Step) -> None:
    """Print :func:`next_steps`, nothing where there are none."""
    if steps:
        print(next_steps(*steps), flush=True)
