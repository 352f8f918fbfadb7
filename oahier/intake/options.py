"""Options of importers: those that all take, and those of the kind ``knee=ID,subject=patient``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from oahier.images.errors import INSIST


class ImportKeywords(TypedDict, total=False):
    """Keyword arguments of every importer, for type checkers; :class:`ImportOptions` has the defaults."""

    insist: str | Sequence[str]
    licence: str
    convert: bool
    mirror_left: bool
    n4: bool
    workers: int
    progress: bool


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What every importer takes, as keyword arguments of its own.

    Args:
        insist: kinds of errors in spite of which an image or label map is read, with commas between, each
            with a note and written as NIfTI: ``fields`` (a text header with unknown or repeated fields),
            ``tail`` (bytes behind the voxels that may be voxels too); of DICOM series ``copies`` (of slices
            that differ at one position, the first is read), ``gaps`` (of uneven distances, the mean is
            taken), ``numbers`` (fewer slices than the header announces), ``modality`` (other than MR).
        licence: terms of the data, for the manifest; those of a data set that has its own importer are known.
        convert: also write the images as NIfTI in the destination.
        mirror_left: mirror left knees in preprocessing, so that medial and lateral agree.
        n4: correct the bias field in preprocessing.
        workers: processes that open images and read headers, and threads that extract archives; 0 for none
            but this one.
        progress: show a bar on standard error.

    Raises:
        ValueError: an unknown kind of error.
    """

    insist: str | Sequence[str] = ""
    licence: str = ""
    convert: bool = False
    mirror_left: bool = False
    n4: bool = False
    workers: int = 0
    progress: bool = True

    def __post_init__(self) -> None:
        _ = self.kinds

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of errors that are insisted on, sorted."""
        return read_names("insist", self.insist, INSIST)

    def record(self) -> dict[str, Any]:
        """The options that decide what the manifest holds."""
        return {
            "insist": self.kinds, "convert": self.convert, "mirror_left": self.mirror_left, "n4": self.n4,
        }  # fmt: skip


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
