"""Options of the kind ``knee=ID,subject=patient``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def read_pairs(option: str, given: Mapping[str, str] | str) -> dict[str, str]:
    """Pairs as a dictionary, whether they come as one or as text.

    Raises:
        ValueError: a piece without ``=``, or a name that is given twice.

    >>> read_pairs("columns", "knee=ID, kl=KL grade")
    {'knee': 'ID', 'kl': 'KL grade'}
    """
    if not isinstance(given, str):
        return {str(name): str(value) for name, value in given.items()}
    pairs: dict[str, str] = {}
    for piece in filter(None, (part.strip() for part in given.split(","))):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not name:
            raise ValueError(f"{option}: expected name=value pairs with commas between them, got {piece!r}")
        if name in pairs:
            raise ValueError(f"{option}: {name!r} is given twice")
        pairs[name] = value
    return pairs


def read_names(option: str, given: str | Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """Some of a few names, sorted, whether they come as text or apart.

    Raises:
        ValueError: another name.

    >>> read_names("insist", "tail, fields", ("fields", "tail"))
    ('fields', 'tail')
    """
    names = tuple(filter(None, map(str.strip, given.split(",") if isinstance(given, str) else given)))
    if unknown := sorted(set(names) - set(allowed)):
        raise ValueError(f"{option}: expected some of {', '.join(allowed)}, got {', '.join(unknown)}")
    return tuple(sorted(set(names)))


def read_ids(option: str, given: Mapping[int, int] | str) -> dict[int, int]:
    """Pairs of whole numbers, whether they come as a dictionary or as text.

    Raises:
        ValueError: something else than whole numbers.

    >>> read_ids("labels", "1=2,2=4")
    {1: 2, 2: 4}
    """
    pairs = read_pairs(option, given) if isinstance(given, str) else given
    try:
        return {int(theirs): int(ours) for theirs, ours in pairs.items()}
    except ValueError as error:
        raise ValueError(
            f"{option}: expected pairs of whole numbers such as 1=2,2=4, got {given!r}"
        ) from error


def series_pattern(series: str) -> re.Pattern[str]:
    """A regular expression for descriptions of series, in any case.

    Raises:
        ValueError: no regular expression.
    """
    try:
        return re.compile(series, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"series: expected a regular expression, got {series!r}: {error}") from error
