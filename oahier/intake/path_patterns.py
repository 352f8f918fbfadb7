"""Paths written as patterns: ``scans/{ID}_{side}*.nii.gz`` names a file for every row of a table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape, glob
from pathlib import Path

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]*\]")


@dataclass(frozen=True)
class Template:
    """A pattern of paths, relative to a folder unless it is absolute.

    Args:
        pattern: text with ``{column}`` placeholders, and ``*``, ``?``, ``[...]`` and ``**`` as in a shell.
        root: the folder.
        skip: files that never match, as :func:`os.path.realpath` gives them.

    >>> Template("scans/{ID}.nii.gz", Path("knees")).columns
    ['ID']
    """

    pattern: str
    root: Path
    skip: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        """Names in the placeholders."""
        return list(dict.fromkeys(_PLACEHOLDER.findall(self.pattern)))

    def find(self, cells: Mapping[str, str]) -> Path:
        """The one file or folder for a row.

        Raises:
            ValueError: a cell is empty, or no file or several match; names them.
        """
        empty = [name for name in self.columns if not cells[name]]
        if empty:
            raise ValueError(f"the column {empty[0]!r}, which the path {self.pattern} needs, is empty")
        wanted = _PLACEHOLDER.sub(lambda found: escape(cells[found[1]]), self.pattern)
        found = self._glob(wanted)
        shown = _PLACEHOLDER.sub(lambda found: cells[found[1]], self.pattern)
        if not found:
            raise ValueError(f"there is no file {shown} in {self.root}")
        if len(found) > 1:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise ValueError(
                f"{len(found)} files match {shown}: {', '.join(found[:3])}{more}; make the path more exact"
            )
        return self.root / found[0]

    def values(self, column: str) -> set[str]:
        """Values of a column in the names of existing files; digits only."""
        names = self._glob(_PLACEHOLDER.sub("*", self.pattern))
        return {cells[column] for name in names if (cells := self.read(name, {column: r"\d+"}))}

    def read(self, name: str, kinds: Mapping[str, str] | None = None) -> dict[str, str]:
        """Values of the placeholders in a path with ``/`` between its folders; empty if it does not fit.

        Args:
            name: the path, relative to the folder.
            kinds: regular expressions that the values of some placeholders match.

        >>> Template("{subject}/**/{subject}{side}.nii.gz", Path()).read("71/a/71L.nii.gz")
        {'subject': '71', 'side': 'L'}
        """
        expression, groups = "", {column: f"g{number}" for number, column in enumerate(self.columns)}
        for number, part in enumerate(_PLACEHOLDER.split(self.pattern)):
            if number % 2 == 0:
                expression += _wild_expression(part)
            elif f"<{groups[part]}>" in expression:
                expression += f"(?P={groups[part]})"
            else:
                expression += f"(?P<{groups[part]}>{(kinds or {}).get(part, '[^/]+')})"
        match = re.fullmatch(expression, name)
        return {column: match[group] for column, group in groups.items()} if match else {}

    def _glob(self, pattern: str) -> list[str]:
        matches = glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207  (absolute patterns too)
        found = (name.replace("\\", "/") for name in matches)
        if not self.skip:
            return sorted(found)
        return sorted(name for name in found if os.path.realpath(self.root / name) not in self.skip)


def exists(path: Path) -> bool:
    """True if there is such a file or folder; a name that the system refuses is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _wild_expression(text: str) -> str:
    """A regular expression for a piece of a shell pattern."""
    expression, start = "", 0
    for wild in _WILD.finditer(text):
        expression += re.escape(text[start : wild.start()])
        kinds = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        expression += kinds.get(wild[0], wild[0].replace("[!", "[^"))
        start = wild.end()
    return expression + re.escape(text[start:])
