"""Measuring two things in turn, so that a slow moment of the machine falls on both."""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Seconds on the wall, and of all processors together (child processes that have ended included)."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)

    def __truediv__(self, times: float) -> Cost:
        return Cost(self.wall / times, self.cpu / times)


Round = tuple[Cost, Cost]
"""What both sides took, one right after the other."""


def now() -> Cost:
    """The clocks; differences are costs."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Cost(time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages))


def cost(action: Callable[[], object]) -> Cost:
    """What one call takes."""
    start = now()
    action()
    return now() - start


def in_turn(
    first: Callable[[], object], second: Callable[[], object], rounds: int, *, warm_up: bool = True
) -> tuple[Round, ...]:
    """Rounds in turn, after one warm-up each; the order changes from round to round.

    >>> calls = []
    >>> made = in_turn(lambda: calls.append("a"), lambda: calls.append("b"), rounds=2)
    >>> calls
    ['a', 'b', 'a', 'b', 'b', 'a']
    """
    if warm_up:
        first(), second()
    made = []
    for index in range(rounds):
        if index % 2:
            b, a = cost(second), cost(first)
        else:
            a, b = cost(first), cost(second)
        made.append((a, b))
    return tuple(made)


@dataclass(frozen=True)
class Comparison:
    """Cost of one side over that of the other, round by round.

    Args:
        name: what is compared.
        over: what it is compared with.
        rounds: costs of both.
        goal: the ratio to reach, if there is one.
        larger_is_better: whether the goal is a lower bound.
        pooled: divide the sums over all rounds, where rounds differ by design; else the median ratio counts.
        note: sizes that the figure depends on.
    """

    name: str
    over: str
    rounds: tuple[Round, ...]
    goal: float | None = None
    larger_is_better: bool = False
    pooled: bool = False
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Wall ratio of each round."""
        return tuple(_over(first.wall, second.wall) for first, second in self.rounds)

    @property
    def ratio(self) -> float:
        """Wall ratio over the rounds."""
        return self._joined("wall")

    @property
    def cpu_ratio(self) -> float:
        """Ratio of processor seconds over the rounds: other users of the machine disturb it less."""
        return self._joined("cpu")

    @property
    def seconds(self) -> tuple[float, float]:
        """Median wall seconds of both sides."""
        first, second = zip(*self.rounds, strict=True)
        return statistics.median(c.wall for c in first), statistics.median(c.wall for c in second)

    @property
    def met(self) -> bool | None:
        """Whether the wall ratio reaches the goal."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.larger_is_better else self.ratio <= self.goal

    def _joined(self, clock: str) -> float:
        pairs = [(getattr(first, clock), getattr(second, clock)) for first, second in self.rounds]
        if self.pooled:
            return _over(sum(first for first, _ in pairs), sum(second for _, second in pairs))
        return statistics.median(_over(first, second) for first, second in pairs)


def _over(first: float, second: float) -> float:
    return first / second if second > 0 else math.nan
