"""Errors of the serial form, and the nearest names for a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpecError(ValueError):
    """A component cannot be described by, or rebuilt from, a ``class_path``."""


class MissingClassError(SpecError):
    """The class is not to be had here: its package is not trusted, not installed, or lacks it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the known names closest to a misspelt one, empty where nothing is near.

    >>> nearest("resnet81", ["resnet18", "resnet34", "vit"])
    " Did you mean 'resnet18' or 'resnet34'?"
    """
    lowered = {item.lower(): item for item in known if not item.startswith("_")}
    close = [lowered[item] for item in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
