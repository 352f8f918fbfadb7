"""Result of a trial, and its table as text and for a terminal."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from oahier.speed.choice import Speed
from oahier.speed.deviation import MIXED, SAME, Deviation
from oahier.speed.pairs import Estimate

TAKEN = "taken"
"""Verdict of a candidate that was better than those before it."""
WIDTH = 160
"""Characters of a line where there is no terminal whose width it has to keep."""


@dataclass(frozen=True)
class Row:
    """A candidate in a trial.

    Args:
        speed: the candidate.
        verdict: ``"taken"``, or why not.
        seconds: of a step, median and interval.
        speedup: seconds of an eager step over its own, step by step.
        first: seconds until it has taken one step, compilation included.
        deviation: from eager, with the same weights and batch.
        memory: bytes of a step.
    """

    speed: Speed
    verdict: str
    seconds: Estimate | None = None
    speedup: Estimate | None = None
    first: float | None = None
    deviation: Deviation | None = None
    memory: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the candidate was better than those before it."""
        return self.verdict == TAKEN


@dataclass(frozen=True)
class Trial:
    """What was tried, and the choice.

    Args:
        choice: the last candidate that was taken; eager where none was.
        rows: eager first.
        device: where it was tried, in words.
        baseline: precision of eager steps.
        steps: timed steps of each.
    """

    choice: Speed
    rows: tuple[Row, ...]
    device: str
    baseline: str
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers and words."""
        return asdict(self)

    def __str__(self) -> str:
        return table_text(self)


def trial_table(trial: Trial) -> Table:
    """A row for every candidate: times, memory where it is known, deviation, verdict."""
    table = Table(box=None, pad_edge=False, title_justify="left", caption_justify="left")
    table.title = f"{trial.steps} training steps on {trial.device}, in turn with eager {trial.baseline}"
    table.caption = (
        f"medians with 98.8 % intervals; first: seconds until one step is made. Off: largest difference of a "
        f"log-probability and of the gradient (share of its norm); at most {_accepted(SAME)}, in mixed "
        f"precision {_accepted(MIXED)}"
    )
    with_memory = any(row.memory is not None for row in trial.rows)
    for name in ("", "ms a step", "eager over it", "first", *(["GB"] if with_memory else []), "off"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_column("verdict", overflow="fold")
    for row in trial.rows:
        memory = [_memory(row)] if with_memory else []
        cells = [
            _milliseconds(row.seconds),
            _ratio(row.speedup),
            _seconds(row.first),
            *memory,
            _off(row.deviation),
        ]
        table.add_row(str(row.speed), *cells, row.verdict)
    return table


def table_text(trial: Trial, width: int = WIDTH) -> str:
    """The table as plain text, with the choice below."""
    stream = StringIO()
    Console(file=stream, width=width).print(trial_table(trial), highlight=False, markup=False)
    return f"{stream.getvalue().rstrip()}\nchosen: {trial.choice}"


def _milliseconds(seconds: Estimate | None) -> str:
    if seconds is None:
        return ""
    low, median, high = (1e3 * value for value in (seconds.low, seconds.median, seconds.high))
    return f"{median:.1f} [{low:.1f}, {high:.1f}]" if math.isfinite(low) else f"{median:.1f}"


def _ratio(ratio: Estimate | None) -> str:
    if ratio is None:
        return ""
    interval = f" [{ratio.low:.2f}, {ratio.high:.2f}]" if math.isfinite(ratio.low) else ""
    return f"{ratio.median:.2f}{interval}"


def _seconds(first: float | None) -> str:
    return "" if first is None else f"{first:.1f} s"


def _memory(row: Row) -> str:
    return "" if row.memory is None else f"{row.memory / 1e9:.2f}"


def _off(found: Deviation | None) -> str:
    return "" if found is None else f"{found.log_probability:.1e}, {found.gradient:.1e}"


def _accepted(tolerance: Deviation) -> str:
    return f"{tolerance.log_probability:g} and {tolerance.gradient:g}"
