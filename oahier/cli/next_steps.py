"""Lines with which a command ends: the commands that go on from what it wrote."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_LONGEST = 68
"""Characters of a command beside which a comment still fits into a terminal."""
Step = tuple[Sequence[object], str]
"""Words after ``oahier``, and what they do."""


def next_steps(*steps: Step) -> str:
    """Commands to type next, with comments in one column, or above the commands where one is long.

    >>> print(next_steps((["data", "check", "my knees.csv"], "look for errors"), (["--help"], "others")))
    next:
      oahier data check 'my knees.csv'  # look for errors
      oahier --help                     # others
    """
    commands = [f"oahier {shlex.join(map(str, words))}" for words, _ in steps]
    width = max(map(len, commands))
    if width > _LONGEST:
        above = [line for command, (_, why) in zip(commands, steps, strict=True)
                 for line in (f"  # {why}", f"  {command}")]  # fmt: skip
        return "\n".join(["next:", *above])
    shown = (f"  {command:<{width}}  # {why}" for command, (_, why) in zip(commands, steps, strict=True))
    return "\n".join(["next:", *shown])


def say_next(*steps: Step) -> None:
    """Print :func:`next_steps`, nothing where there are none."""
    if steps:
        print(next_steps(*steps), flush=True)
