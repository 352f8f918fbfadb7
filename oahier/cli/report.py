"""The table that ends a command: the values of a stage, and where the files are."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console
from rich.table import Table

from oahier.callbacks.keys import Stage, stage_directory
from oahier.hierarchy import COARSE, head_label
from oahier.metrics import find_metrics, registered


def print_results(trainer: L.Trainer, stage: Stage) -> None:
    """Print the values of a stage by head, with 95 % intervals where there are some, and the files."""
    if not trainer.is_global_zero:
        return
    console = Console()
    folder = stage_directory(trainer, stage)
    values = {
        name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(f"{stage}/")
    }
    if values:
        console.print(results_table(values, _intervals(folder / "metrics.json"), stage))
    files = sorted(
        path for pattern in ("*.*", "pictures/*.png", "checkpoints/*") for path in folder.glob(pattern)
    )
    if files:
        console.print(f"\nFiles in [bold]{folder}[/bold]", soft_wrap=True)
        for path in files:
            console.print(f"  {path.relative_to(folder)}", soft_wrap=True, highlight=False)


def results_table(
    values: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], stage: str
) -> Table:
    """One row a value, grouped by head, in the order and with the labels of the registered metrics."""
    table = Table(title=f"Results on the {stage} split", title_justify="left")
    table.add_column("head")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    previous = None
    order = {metric.name: place for place, metric in enumerate(registered())}
    for name in sorted(values, key=functools.partial(_place, order)):
        _, *group, metric = name.split("/")
        head = "/".join(group)
        if previous is not None and head != previous:
            table.add_section()
        low_high = intervals.get(name)
        interval = "" if low_high is None else f"{low_high[0]:.3f} to {low_high[1]:.3f}"
        interval = "undefined" if "nan" in interval else interval
        value = "undefined" if values[name] != values[name] else f"{values[name]:.4g}"
        table.add_row("" if head == previous else head, _title(metric), value, interval)
        previous = head
    return table


def _place(order: Mapping[str, int], key: str) -> tuple[bool, list[str], int, str]:
    """Values of no head first; then by head, registered metrics before what else is logged."""
    _, *group, metric = key.split("/")
    return bool(group), group, order.get(metric, len(order)), metric


def _title(metric: str) -> str:
    """The label of a metric; of the coarse level that grades imply, with its name before it.

    >>> _title("qwk"), _title("oa_auc"), _title("explained_variance")
    ('QWK', 'OA AUC', 'explained variance')
    """
    implied = f"{COARSE}_"
    if find_metrics(metric.removeprefix(implied)) and metric.startswith(implied):
        return f"{head_label(COARSE)} {_title(metric.removeprefix(implied))}"
    return next((known.title for known in find_metrics(metric)), metric.replace("_", " "))


def _intervals(path: Path) -> dict[str, tuple[float, float]]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found: Mapping[str, Any] = content.get("intervals", {})
    return {
        name: (math.nan, math.nan) if low is None else (float(low), float(high))
        for name, (low, high) in found.items()
    }
