"""Checks of option values, and exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from oahier.specs.errors import nearest

INTERRUPTED, TERMINATED = 130, 143
"""Exit status after Ctrl-C and after SIGTERM, as shells have it."""


def no_command(name: str, known: Iterable[str], program: str) -> int:
    """Say that there is no such command.

    Returns:
        the exit status, 2.
    """
    near = nearest(name, known)
    print(
        f"{program}: error: there is no command {name!r}.{near} (commands: {program} --help)", file=sys.stderr
    )
    return 2


def names(words: str) -> list[str]:
    """Names with commas between them.

    >>> names("kl, sex,")
    ['kl', 'sex']
    """
    return [name.strip() for name in words.split(",") if name.strip()]


def checked(name: str, value: int, least: int) -> int:
    """A whole number from ``least`` on.

    Raises:
        ValueError: it is smaller; the message names the option.

    >>> checked("--workers", 2, 1)
    2
    """
    if value < least:
        raise ValueError(f"{name}: expected {least} or more, got {value}")
    return value
