"""Progress bar on standard error, and shares of a longer piece of work for whoever shows them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")

logger = logging.getLogger(__name__)
_told: ContextVar[Callable[[float], object] | None] = ContextVar("told", default=None)


@contextmanager
def bar(
    description: str, total: int | None, *, show: bool = True, done: int = 0
) -> Iterator[Callable[[int | float], None]]:
    """A bar that is advanced by the function it gives; silent where standard error is no terminal.

    Args:
        description: the words before the bar.
        total: what there is to do, ``None`` if unknown; there is no bar for 0.
        show: false for no bar.
        done: what was done before.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f}/s")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
    )  # fmt: skip
    hidden = not (show and console.is_terminal and total != 0)
    with Progress(*columns, console=console, disable=hidden) as shown:
        task = shown.add_task(description, total=total, completed=done)
        yield lambda amount: shown.advance(task, amount)


def progress(
    items: Iterable[Item], total: int | None, description: str, *, show: bool = True, done: int = 0
) -> Iterator[Item]:
    """The items, with a :func:`bar` that advances by each of them."""
    with bar(description, total, show=show, done=done) as advance:
        for item in items:
            yield item
            advance(1)


def announce(message: str, *, show: bool) -> None:
    """Say on standard error what is about to be done, and in the log."""
    from rich.console import Console

    logger.info("%s", message)
    if show:
        Console(stderr=True).print(message, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def beating(action: Callable[[], object], every: float) -> Iterator[None]:
    """Do something again and again from another thread until the work inside is done.

    Args:
        action: first done after the pause.
        every: seconds of the pause.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(every):
            action()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def telling(listener: Callable[[float], object]) -> Iterator[None]:
    """Whoever counts :func:`steps` inside tells this listener the share of them that is done, up to 1."""
    token = _told.set(listener)
    try:
        yield
    finally:
        _told.reset(token)


@contextmanager
def portion(first: int | float, last: int | float) -> Iterator[None]:
    """What is done inside is this portion of the piece of work around it.

    >>> shares = []
    >>> with telling(shares.append), portion(0.5, 1.0):
    ...     done = [step for step in steps(["a", "b"])]
    >>> shares
    [0.75, 1.0]
    """
    outer = _told.get()
    if outer is None:
        yield
        return
    with telling(lambda share: outer(first + share * (last - first))):
        yield


def steps(items: Iterable[Item], total: int | None = None) -> Iterator[Item]:
    """The items of a loop; after each the share that is done is told to who is :func:`telling`, if anybody.

    Args:
        items: gone through once.
        total: how many there are; by default their length. Nothing is told of items without one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    for number, item in enumerate(items, start=1):
        yield item
        listener = _told.get()
        if listener is not None and total:
            listener(number / total)
