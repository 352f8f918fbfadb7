"""Choice of knees by side, or by a list of subjects and sides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oahier.intake.oai_codes import SIDES, side_list, side_of, subject_of

_LINE = re.compile(r'"?([^",;|\t]*)"?[,;|\t]"?([^",;|\t]*)"?')


@dataclass(frozen=True)
class WantedSides:
    """Sides that are imported.

    Args:
        sides: of everybody.
        listed: sides by subject where a list names them; others are passed over then.
        file: the list.
    """

    sides: tuple[str, ...] = SIDES
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    file: str = ""

    def __str__(self) -> str:
        return self.file or ",".join(self.sides)

    def passed_over(self, subject: str, side: str) -> str:
        """Kind of knee in words if it is not to be imported, ``""`` if it is."""
        if self.file:
            return "" if side in self.listed.get(subject, ()) else f"knees that {self.file} does not list"
        return "" if side in self.sides else f"{side} knees"


def wanted_sides(option: str, given: str | Sequence[str]) -> WantedSides:
    """Sides that an option names, or the file of a list.

    Raises:
        ValueError: neither sides nor a file, or a damaged list.
        OSError: the list cannot be read.
    """
    if isinstance(given, str) and (path := Path(given)).suffix.lower() in (".csv", ".txt", ".tsv"):
        if not path.is_file():
            raise OSError(2, f"{option}: cannot read {path}: no such file")
        return WantedSides(listed=read_sides(path), file=path.name)
    return WantedSides(side_list(option, given))


def read_sides(path: Path) -> dict[str, frozenset[str]]:
    r"""A list of people and sides, one knee a line, with or without a header.

    Raises:
        ValueError: a line of another kind, or none.
        OSError: the file cannot be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "sides.csv")
    >>> _ = path.write_text("9001104,RIGHT\n71,2: Left\n")
    >>> {subject: sorted(sides) for subject, sides in read_sides(path).items()}
    {'9001104': ['right'], '0000071': ['left']}
    """
    found: dict[str, set[str]] = {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.match(line.strip())
        subject, side = (subject_of(match[1]), side_of(match[2])) if match else ("", "")
        if subject and side:
            found.setdefault(subject, set()).add(side)
        elif number > 1 or re.search(r"\d{4}", line):
            raise ValueError(
                f"{path}, line {number}: expected subject and side such as 9001104,RIGHT, got {line[:60]!r}"
            )
    if not found:
        raise ValueError(f"{path}: expected lines such as 9001104,RIGHT, found none")
    return {subject: frozenset(sides) for subject, sides in found.items()}
