"""Text headers of NRRD and MetaImage: lines, numbers, and the files that they name."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
from jaxtyping import Float64

from oahier.images.errors import FORCED, advice, reason

LONGEST = 1 << 20
"""Bytes within which a header must end."""

_MOST_FILES = 10_000


class BadHeader(ValueError):
    """A header that cannot be understood; the message says why, without what may tell who a person is."""


def header_lines(content: bytes) -> list[str]:
    """Lines of a header: UTF-8, else Latin-1, in which comments of older programs are written."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return re.split(r"\r\n|\r|\n", text)


def unexpected_line(name: str, mark: str) -> str:
    """Why a header is refused.

    >>> unexpected_line("PatientName", "="), unexpected_line("Doe 1950", "")
    ("unknown or repeated field 'PatientName' in its header", 'a line of its header is no field')
    """
    if mark and re.fullmatch(r"[A-Za-z][A-Za-z_ -]{0,39}", name):
        return f"unknown or repeated field {name!r} in its header"
    return "a line of its header is no field"


def pass_over(why: str, insist: Collection[str], notes: list[str]) -> None:
    """Note a line that means nothing.

    Raises:
        BadHeader: nobody insists.
    """
    if "fields" not in insist:
        raise BadHeader(why + advice("fields"))
    notes.append(f"{FORCED} {why}")


def numbers(text: str, name: str, count: int) -> Float64[np.ndarray, " count"]:
    """So many numbers.

    Raises:
        BadHeader: others than that.
    """
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise BadHeader(f"{name}: {reason(error)}") from error
    if len(values) != count:
        raise BadHeader(f"expected {count} numbers in {name}, got {len(values)}")
    return values


def whole_numbers(text: str, name: str) -> tuple[int, ...]:
    """Whole numbers with spaces between them.

    Raises:
        BadHeader: something else.
    """
    if not re.fullmatch(r"\s*([+-]?[0-9]{1,20}\s+)*[+-]?[0-9]{1,20}\s*", text):
        raise BadHeader(f"expected whole numbers in {name}")
    return tuple(int(word) for word in text.split())


def data_files(value: str, rest: list[str]) -> tuple[str, ...]:
    """Names of the files with the voxels: one, those of a pattern, or of the lines behind LIST.

    >>> data_files("slice%02d.raw 1 5 2", [])
    ('slice01.raw', 'slice03.raw', 'slice05.raw')

    Raises:
        BadHeader: a pattern that is none, or too many files.
    """
    if re.fullmatch(r"LIST(\s+\d)?", value):
        names = tuple(line.strip() for line in rest if line.strip())
    elif "%" not in value:
        return (value,)
    else:
        found = re.fullmatch(r"([^%]*%0?\d?\d?d[^%]*?)\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})(\s+\d)?", value)
        if found is None or int(found[4]) == 0:
            raise BadHeader("expected a pattern of files such as slice%03d.raw 1 60 1")
        steps = range(int(found[2]), int(found[3]) + 1, int(found[4]))
        names = tuple(found[1] % step for step in steps[: _MOST_FILES + 1])
    if not 1 <= len(names) <= _MOST_FILES:
        raise BadHeader(f"expected 1 to {_MOST_FILES} files with voxels, got {len(names)}")
    return names
