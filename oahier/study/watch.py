"""Lines about the cells that are being trained, from the curves that they write, whatever runs them."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from oahier.progress import beating
from oahier.study.cells import Cell

_PAUSE = 2.0
"""Seconds between two looks at the curves."""


@contextmanager
def watched(folder: Path, console: Console) -> Iterator[None]:
    """Show a line for every cell that is in training, below what is printed meanwhile; on terminals only."""
    if not console.is_terminal:
        yield
        return
    started = time.time()
    with Live(console=console, refresh_per_second=2, transient=True) as live:

        def look() -> None:
            live.update(Text("\n".join(running_lines(cells_in(folder), started))))

        with beating(look, _PAUSE):
            yield


def cells_in(folder: Path) -> list[Cell]:
    """The cells of a study that exist by now."""
    return [Cell.read(path.parent) for path in sorted(folder.glob("cells/*/cell.json"))]


def running_lines(cells: Sequence[Cell], since: float) -> list[str]:
    """Epoch and monitored value of the cells that wrote curves since a time and have not ended.

    Args:
        cells: of a study.
        since: seconds since 1970.
    """
    lines = []
    for cell in cells:
        curves = cell.folder / "learning_curves.csv"
        if not curves.is_file() or (seen := curves.stat().st_mtime) < since:
            continue
        ends = [path for name in ("metrics.json", "failure.txt") if (path := cell.folder / name).is_file()]
        if any(path.stat().st_mtime >= seen for path in ends):
            continue
        with curves.open(encoding="utf-8", newline="") as file:
            row = list(csv.DictReader(file))[-1]
        monitor = cell.settings["monitor"] or "val/loss"
        value = f", {monitor} {float(row[monitor]):.3f}" if row.get(monitor) else ""
        lines.append(f"  {cell.name}: epoch {row['epoch']}/{cell.config['trainer']['max_epochs']}{value}")
    return lines
