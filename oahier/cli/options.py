"""Checks of command-line values."""

from __future__ import annotations


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
