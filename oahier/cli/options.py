"""Checks of option values, and the exit status of an interrupted command."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


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
