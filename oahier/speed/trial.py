"""Trial of ways to compute a training step: which are faster than eager float32, and right."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from oahier.interrupts import interruption
from oahier.model.execution import CompileError
from oahier.specs.errors import first_line
from oahier.speed.choice import Precision, Speed
from oahier.speed.deviation import MIXED, SAME, Outcome, deviation
from oahier.speed.pairs import median_interval
from oahier.speed.table import TAKEN, Row, Trial

STEPS = 20
"""Timed steps of each candidate."""
WARM_UP = 3
"""Steps before; the first of a compiled encoder may compile it again, with dropout."""
LEAST_ROUNDS = 5
"""Rounds after which a candidate that was slower in each of them is given up."""
COMPILING = 10.0
"""Seconds that a compilation takes at least; it was 70 to 160 s where it was measured."""
HOPELESS = 10.0
"""Times that a step may take of an eager one; a candidate is given up at the first that takes more."""


@runtime_checkable
class Steps(Protocol):
    """What takes training steps, as :class:`oahier.speed.copies.TrainingCopy` does."""

    def step(self, index: int) -> float:
        """Seconds of a step."""

    def outcome(self) -> tuple[Outcome, float]:
        """What the first batch gives, and seconds; it compiles what is to be compiled."""

    def memory(self) -> float | None:
        """Bytes of a step, where they are known."""


Make = Callable[[Speed], Steps]


def compare_candidates(
    make: Make,
    precisions: Sequence[Precision],
    *,
    device: str,
    baseline: str = "32-true",
    steps: int = STEPS,
    planned_steps: int | None = None,
) -> Trial:
    """Time candidates against eager and the best one before, in turn, step by step.

    A candidate is taken if it is faster than both by more than the noise (the interval of the ratio lies
    above 1), within the tolerance (:data:`~oahier.speed.deviation.SAME`, of mixed precision
    :data:`~oahier.speed.deviation.MIXED`), and if the training is long enough to win back the time of its
    compilation.

    Args:
        make: copies of the model that compute one way or another.
        precisions: those to try; one at most is taken.
        device: in words.
        baseline: precision of the trainer.
        steps: to time.
        planned_steps: of the training, if known.

    Raises:
        Exception: whatever an eager step raises; what a candidate raises is its verdict.
    """
    race = _Race(make, steps, planned_steps, mixed=baseline != "32-true")
    for speed in _candidates(race, precisions):
        race.enter(speed)
    return Trial(race.best, (race.eager_row(), *race.rows), device, baseline, steps)


def _candidates(race: _Race, precisions: Sequence[Precision]) -> Iterator[Speed]:
    """Layout and precisions alone, then together (one often needs the other), then the best one compiled."""
    yield Speed(channels_last=True)
    for precision in precisions:
        yield Speed(precision=precision)
        yield Speed(precision=precision, channels_last=True)
    yield replace(race.best, compile=True)


class _Race:
    """Eager steps and the best candidate so far, which others are timed against."""

    def __init__(self, make: Make, steps: int, planned_steps: int | None, *, mixed: bool) -> None:
        self._make, self._steps, self._planned, self._mixed = make, steps, planned_steps, mixed
        self.best, self.rows = Speed(), list[Row]()
        self._eager = make(Speed())
        self._reference, _ = self._eager.outcome()
        for index in range(WARM_UP):
            self._eager.step(index)
        self._memory = self._eager.memory()
        self._seconds: list[float] = []
        self._leader: Steps | None = None

    def eager_row(self) -> Row:
        """The row of eager steps."""
        seconds = median_interval(self._seconds) if self._seconds else None
        return Row(Speed(), TAKEN if self.best == Speed() else "the baseline", seconds, memory=self._memory)

    def enter(self, speed: Speed) -> None:
        """Try a candidate and add its row."""
        if speed.compile and (reason := self._too_short()):
            self.rows.append(Row(speed, reason))
            return
        try:
            copy = self._make(speed)
            row = self._tried(speed, copy)
        except Exception as error:  # of torch, a compiler, a driver or the encoder: it is not taken
            if interruption(error):
                raise
            self.rows.append(Row(speed, _reason(error)))
            return
        self.rows.append(row)
        if row.taken:
            self.best, self._leader = speed, copy

    def _too_short(self) -> str:
        """Why a compilation cannot be won back, where that is known without one."""
        if self._planned is None or not self._seconds:
            return ""
        whole = self._planned * statistics.median(self._seconds)
        return f"not tried: all {self._planned} planned steps take {whole:.1f} s" * (whole < COMPILING)

    def _tried(self, speed: Speed, copy: Steps) -> Row:
        outcome, seconds = copy.outcome()
        found = deviation(outcome, self._reference)
        row = Row(speed, "", deviation=found)
        if not found.within(MIXED if self._mixed or speed.precision else SAME):
            return replace(row, verdict="outside the tolerance")
        usual = min(self._eager.step(index) for index in range(2))
        row = replace(row, first=seconds + copy.step(0))
        for index in range(1, WARM_UP):
            factor = copy.step(index) / usual
            if factor > HOPELESS:
                return replace(row, verdict=f"{factor:.0f} times slower, given up at once")
        return self._timed(row, copy)

    def _timed(self, row: Row, copy: Steps) -> Row:
        """The row with times and verdict."""
        *others, own = self._in_turn(copy)
        ratios = [median_interval([b / a for a, b in zip(own, other, strict=True)]) for other in others]
        row = replace(row, seconds=median_interval(own), speedup=ratios[0], memory=copy.memory())
        if len(own) < self._steps:
            return replace(row, verdict=f"slower in each of {len(own)} steps, given up")
        if min(ratio.low for ratio in ratios) <= 1:
            than = "eager" if ratios[0].low <= 1 else str(self.best)
            return replace(row, verdict=f"not faster than {than} by more than the noise")
        saved = statistics.median(others[-1]) - statistics.median(own)
        return replace(row, verdict=self._worth(row, saved))

    def _in_turn(self, copy: Steps) -> list[list[float]]:
        """Seconds of eager steps, of the best candidate's if there is one, and of a candidate's."""
        sides = [self._eager, *([] if self._leader is None else [self._leader]), copy]
        times: list[list[float]] = [[] for _ in sides]
        for index in range(self._steps):
            for shift in range(len(sides)):
                side = (index + shift) % len(sides)
                times[side].append(sides[side].step(index))
            if index + 1 >= LEAST_ROUNDS and all(a > b for a, b in zip(times[-1], times[-2], strict=True)):
                break
        self._seconds += times[0]
        return times

    def _worth(self, row: Row, saved: float) -> str:
        """``"taken"``, but of a compilation that the planned steps do not win back."""
        if not row.speed.compile or self._planned is None or row.first is None:
            return TAKEN
        if self._planned * saved > row.first:
            return TAKEN
        return f"compiling takes {row.first:.0f} s, {self._planned} steps save {self._planned * saved:.0f} s"


def _reason(error: Exception) -> str:
    """What a candidate raised, in a line."""
    if isinstance(error, CompileError):
        return (
            str(error)
            .partition("; train it without")[0]
            .replace("the encoder cannot be compiled here", "could not compile")
        )
    kind = type(error).__name__
    return "out of memory" if kind == "OutOfMemoryError" else f"failed: {kind}: {first_line(error)}"
