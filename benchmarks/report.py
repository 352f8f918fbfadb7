"""Comparisons as a table on the terminal, as Markdown or as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from rich.table import Table

from benchmarks.harness import Comparison

COLUMNS = ("ours", "other", "ratio", "rounds", "CPU ratio", "goal", "met", "seconds", "sizes")


def machine() -> str:
    """What the figures depend on beside the code."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "torchio"))
    load = f"{os.getloadavg()[0]:.1f}"
    return (
        f"{torch.get_num_threads()} threads on {os.cpu_count()} cores ({platform.machine()}), load {load}; "
        f"Python {platform.python_version()}, {packages}"
    )


def cells(result: Comparison) -> tuple[str, ...]:
    """One row of the table."""
    sign = ">=" if result.larger_is_better else "<="
    first, second = result.seconds
    return (
        result.name,
        result.over,
        f"{result.ratio:.4g}",
        f"{min(result.ratios):.3g} to {max(result.ratios):.3g} ({len(result.ratios)})",
        f"{result.cpu_ratio:.4g}",
        "" if result.goal is None else f"{sign} {result.goal:g}",
        {None: "", True: "yes", False: "no"}[result.met],
        f"{first:.3g} / {second:.3g}",
        result.note,
    )


def terminal_table(results: Sequence[Comparison]) -> Table:
    """For rich."""
    table = Table(*COLUMNS, title="Seconds of ours over the other, measured in turn", caption=machine())
    for result in results:
        style = "red" if result.met is False else None
        table.add_row(*cells(result), style=style)
    return table


def write(path: Path, results: Sequence[Comparison]) -> None:
    """Write ``.md`` or ``.json``.

    Raises:
        ValueError: another ending.
    """
    if path.suffix == ".md":
        rows = [COLUMNS, ("---",) * len(COLUMNS), *map(cells, results)]
        text = "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{machine()}\n"
    elif path.suffix == ".json":
        records = [
            {
                "ours": result.name,
                "other": result.over,
                "ratio": result.ratio,
                "ratios": result.ratios,
                "cpu_ratio": result.cpu_ratio,
                "goal": result.goal,
                "met": result.met,
                "seconds": result.seconds,
                "sizes": result.note,
            }
            for result in results
        ]
        text = json.dumps({"machine": machine(), "comparisons": records}, indent=2) + "\n"
    else:
        raise ValueError(f"--out: expected a file that ends in .md or .json, got {path}")
    path.write_text(text, encoding="utf-8")
