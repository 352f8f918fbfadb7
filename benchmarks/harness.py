"""Measuring two things in turn, so that a slow moment of the machine falls on both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Comparison:
    """Seconds of one side over seconds of the other, round by round.

    Args:
        name: what is compared.
        over: what it is compared with.
        ratios: one ratio a round.
        goal: the ratio to reach, if there is one.
        larger_is_better: whether the goal is a lower bound.
        note: sizes that the figure depends on.
    """

    name: str
    over: str
    ratios: tuple[float, ...]
    goal: float | None = None
    larger_is_better: bool = False
    note: str = ""
    seconds: tuple[float, float] = field(default=(float("nan"), float("nan")))

    @property
    def ratio(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.larger_is_better else self.ratio <= self.goal


def seconds(action: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(
    first: Callable[[], float], second: Callable[[], float], rounds: int
) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Ratios ``first / second`` of rounds in turn, after one warm-up each, and the median seconds.

    The order changes from round to round, so that neither side always runs on a warmer cache.
    """
    first(), second()
    pairs = []
    for index in range(rounds):
        if index % 2:
            b, a = second(), first()
        else:
            a, b = first(), second()
        pairs.append((a, b))
    ratios = tuple(a / b for a, b in pairs)
    return ratios, (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))
