"""A bar over what loaders deliver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def progress(results: Any, total: int, description: str) -> Iterator[Any]:
    """The results, with a bar on a terminal if there are any to come."""
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
    hidden = not console.is_terminal or not total
    with Progress(*columns, console=console, disable=hidden) as bar:
        yield from bar.track(results, total=total, description=description)
