"""The one exception of reading."""

from __future__ import annotations


class UnreadableImage(ValueError):
    """The file cannot be read as one 3D image; the message says which file and why."""


def reason(error: BaseException) -> str:
    """The last line that says something: libraries put source locations before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
