"""Options of the kind ``knee=ID,subject=patient``."""

from __future__ import annotations

from collections.abc import Mapping


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
