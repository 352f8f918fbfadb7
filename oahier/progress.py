"""Progress bar on standard error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


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
