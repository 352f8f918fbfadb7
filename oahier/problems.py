"""Findings about a manifest and the files that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""What stops a training or makes results wrong; what deserves a look; what is good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Most severe first."""

_SHOWN = 20
"""Problems that an exception prints; the attribute holds them all."""


@dataclass(frozen=True)
class Problem:
    """One finding.

    ``row`` counts as a spreadsheet does: the header is row 1, the first knee row 2.

    >>> print(Problem("expected a grade 0-4, got '7'", row=3, knee="9001L", column="kl"))
    row 3, knee '9001L', column 'kl': expected a grade 0-4, got '7'
    """

    message: str
    row: int | None = None
    knee: str | None = None
    column: str | None = None
    severity: Severity = "error"
    kind: str = ""
    """What it is about in an audit, such as ``"leakage"``."""

    def __str__(self) -> str:
        place = [
            f"row {self.row}" if self.row is not None else "",
            f"knee {self.knee!r}" if self.knee else "",
            f"column {self.column!r}" if self.column is not None else "",
        ]
        where = ", ".join(part for part in place if part)
        return f"{where}: {self.message}" if where else self.message


class ManifestError(ValueError):
    """A manifest, or a file that it names, cannot be used; ``problems`` lists every reason."""

    def __init__(self, source: object, problems: Sequence[Problem]) -> None:
        self.source = str(source)
        self.problems = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"  ... and {len(self.problems) - _SHOWN} more; `oahier data check` lists all")
        noun = "problem" if len(self.problems) == 1 else "problems"
        super().__init__("\n".join([f"{self.source}: {len(self.problems)} {noun}", *lines]))

    def __reduce__(self) -> tuple[type[ManifestError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.source, self.problems)
