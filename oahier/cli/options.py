"""Checks of option values, and what ends a command from outside."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from oahier.specs.errors import nearest

INTERRUPTED, TERMINATED = 130, 143
"""Exit status after Ctrl-C and after SIGTERM, as shells have it."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise :class:`Terminated` where SIGTERM arrives, in evaluation too, which Lightning does not stop."""

    def end(*_: Any) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
