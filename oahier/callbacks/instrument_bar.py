"""Line below Lightning's progress bar: the instrument that works, how far it is, and the time left."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.progress import beating, telling

BEAT = 0.5
"""Seconds between two drawings of the line while an instrument says nothing, so that its time runs on."""


@runtime_checkable
class Instrument(Protocol):
    """What the line needs to know of a callback."""

    name: str
    seconds: float


class Line(ABC):
    """One line of a progress bar."""

    @abstractmethod
    def show(self, text: str, done: float, total: int | float) -> None:
        """Say what works, and how much of the total is done."""

    @abstractmethod
    def draw(self) -> None:
        """Draw it again, with the time that has passed."""

    @abstractmethod
    def close(self) -> None:
        """Take it away."""


class RichLine(Line):
    """A line of Lightning's bar of rich; its columns are those of the bar."""

    def __init__(self, bar: RichProgressBar) -> None:
        self.bar = bar
        self.task: Any = None
        self.done, self.total = 0.0, math.nan

    @override
    def show(self, text: str, done: float, total: int | float) -> None:
        progress: Any = self.bar.progress
        if self.task is None:
            self.task = progress.add_task(text, total=total)
        elif total != self.total or done < self.done == self.total:
            progress.reset(self.task, total=total, description=text)
        self.done, self.total = done, total
        progress.update(self.task, description=text, completed=done)
        self.draw()

    @override
    def draw(self) -> None:
        self.bar.refresh()

    @override
    def close(self) -> None:
        if self.task is not None and self.bar.progress is not None:
            self.bar.progress.update(self.task, visible=False)
            self.bar.refresh(hard=True)


class TqdmLine(Line):
    """A line below Lightning's bar of tqdm."""

    def __init__(self, bar: TQDMProgressBar) -> None:
        self.line: Any = Tqdm(
            position=2 * bar.process_position + 1, leave=False, dynamic_ncols=True, file=sys.stdout,
            disable=bar.is_disabled, bar_format="{desc}{percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]",
        )  # fmt: skip

    @override
    def show(self, text: str, done: float, total: int | float) -> None:
        if total != self.line.total or done < self.line.n == total:
            self.line.reset(None if math.isinf(total) else total)
        self.line.set_description(text, refresh=False)
        self.line.n = done
        self.line.refresh()

    @override
    def draw(self) -> None:
        self.line.refresh()

    @override
    def close(self) -> None:
        self.line.close()


def line_below(trainer: L.Trainer) -> Line | None:
    """A line below the trainer's bar; ``None`` in other processes than zero and where nobody sees a bar."""
    bar = trainer.progress_bar_callback
    if (
        not isinstance(bar, RichProgressBar | TQDMProgressBar)
        or bar.is_disabled
        or not trainer.is_global_zero
    ):
        return None
    if isinstance(bar, TQDMProgressBar):
        return TqdmLine(bar) if sys.stdout.isatty() else None
    return RichLine(bar) if bar.progress is not None and bar.progress.console.is_terminal else None


class InstrumentBar:
    """The line of the evaluation that runs, shared by the callbacks of a trainer; silent in training.

    While batches come, it counts them, and inside one the instruments by the time that each has taken so far;
    at the end it counts the instruments that have written their results. Get it with
    :func:`instrument_bar_of`.
    """

    def __init__(self) -> None:
        self._line: Line | None = None
        self._batch, self._costs = -1, [1.0]

    def start(self) -> None:
        """Forget the epoch before."""
        self.close()
        self._batch = -1

    def close(self) -> None:
        """Take the line away."""
        if self._line is not None:
            self._line.close()
        self._line = None

    @contextmanager
    def batch(
        self, trainer: L.Trainer, instruments: Sequence[Instrument], own: Instrument, index: int
    ) -> Iterator[None]:
        """Show that one of the instruments that look at batches works on a batch.

        Args:
            trainer: that evaluates.
            instruments: in the order in which they work.
            own: which of them works; nothing is shown of another.
            index: of the batch.
        """
        if index != self._batch:
            spent = [max(one.seconds, 1e-3) for one in instruments]
            self._batch, self._costs = index, spent if index else [1.0] * len(spent)
        if own not in instruments:
            yield
            return
        at, whole = instruments.index(own), sum(self._costs)
        before, share = sum(self._costs[:at]) / whole, self._costs[at] / whole
        with self._shown(trainer, own.name, _batches(trainer), index + before, share):
            yield

    @contextmanager
    def end(self, trainer: L.Trainer, instruments: Sequence[Instrument], own: Instrument) -> Iterator[None]:
        """Show that an instrument makes its results of the whole epoch; the line goes after the last."""
        if own not in instruments:
            yield
            return
        at = instruments.index(own)
        with self._shown(trainer, f"{own.name}, results", len(instruments), float(at), 1.0):
            yield
        if at == len(instruments) - 1:
            self.close()

    @contextmanager
    def _shown(
        self, trainer: L.Trainer, text: str, total: int | float, done: float, own: float
    ) -> Iterator[None]:
        """The line while an instrument works, whose work is ``own`` of the total."""
        if self._line is None and trainer.state.fn != TrainerFn.FITTING:
            self._line = line_below(trainer)
        line = self._line
        if line is None:
            yield
            return

        def show(share: float) -> None:
            line.show(text, done + own * share, total)

        show(0.0)
        with telling(show), beating(line.draw, BEAT):
            yield
        show(1.0)


def instrument_bar_of(trainer: L.Trainer) -> InstrumentBar:
    """The bar that all instruments of a trainer share."""
    return _running.setdefault(trainer, InstrumentBar())


_running: WeakKeyDictionary[L.Trainer, InstrumentBar] = WeakKeyDictionary()


def _batches(trainer: L.Trainer) -> int | float:
    """Batches of the evaluation that runs; infinite where nobody knows."""
    counts: Any = trainer.num_val_batches
    if trainer.testing:
        counts = trainer.num_test_batches
    elif trainer.predicting:
        counts = trainer.num_predict_batches
    total: int | float = sum(counts) if isinstance(counts, list) else counts
    return total
