"""Errors of the serial form, the nearest names for a misspelt one, and YAML files with errors in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


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


def yaml_reason(error: Exception) -> str:
    """Line, column and reason of a YAML error in one line; of another error its own words.

    >>> import yaml
    >>> try:
    ...     _ = yaml.safe_load("trainer: {max_epochs: 3")
    ... except yaml.YAMLError as error:
    ...     print(yaml_reason(error))
    line 1, column 24: expected ',' or '}', but got '<stream end>'
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or not problem:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def read_yaml(path: Path | str, where: str, kind: type[ValueError] = SpecError) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Args:
        path: of the file.
        where: what to call it in an error, such as the option that names it.
        kind: of error to raise.

    Raises:
        ValueError: of this kind; it cannot be read, is no YAML (names line and column), or holds no mapping.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise kind(f"{where}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise kind(f"{where}: expected YAML: {yaml_reason(error)}") from error
    if not isinstance(content, dict):
        raise kind(f"{where}: expected a mapping of keys to values, got {type(content).__name__}")
    return content


def first_line(error: BaseException, width: int = 160) -> str:
    """The first line of an error's message that is not empty, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:width] if lines else type(error).__name__
