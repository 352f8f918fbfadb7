"""Comparisons as ``oahier compare`` prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.pages.text import from_to, number, p_value
from oahier.statistics import Comparison, sentences
from oahier.statistics.sentences import SCOPES

_WIDE = 130
_NO_DELONG = (
    "No DeLong test: it needs the AUC of a head of two classes and more than sixteen subjects that tell the "
    "models apart; the jackknife over subjects, or an exact test, was used instead."
)
_SCOPES = {**SCOPES, "nothing": "undefined"}


def print_comparisons(
    rows: Sequence[Comparison], without_subject: Sequence[str], *, delong: bool = False
) -> None:
    """Print a table for each pair, what it holds for, and every row in words.

    Args:
        rows: of one or several pairs.
        without_subject: files in which every knee counts as a subject.
        delong: DeLong's test was asked for.
    """
    console = Console()
    for pair in dict.fromkeys((row.model_a, row.model_b) for row in rows):
        mine = [row for row in rows if (row.model_a, row.model_b) == pair]
        wide = console.width >= _WIDE
        console.print(_table(pair, mine, wide))
        console.print(_footnote(mine), highlight=False)
        if not wide:
            console.print(_tests(mine), highlight=False)
        if delong and not any(row.test.endswith("delong") for row in mine):
            console.print(_NO_DELONG, highlight=False)
        for row in mine:
            console.print(escape(f"- {' '.join(sentences(row))}"), highlight=False)
    if without_subject:
        console.print(
            f"No column subject in {escape(', '.join(without_subject))}: each knee counts as a subject.",
            highlight=False,
        )


def _table(pair: tuple[str, str], rows: Sequence[Comparison], wide: bool) -> Table:
    """One row a metric; odds, verdict and test where there is room (the file has them)."""
    table = Table(
        title=f"a = {escape(pair[0])}\nb = {escape(pair[1])}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("task")
    table.add_column("metric", min_width=11)
    for name in ("a", "b", "b - a", "95 % interval", "p", "adjusted"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("b not better", justify="right")
        table.add_column("verdict")
        table.add_column("80 % power", justify="right")
        table.add_column("test")
    previous = rows[0].task
    for row in rows:
        if row.task != previous:
            table.add_section()
        numbers = [number(value, 3) for value in (row.a, row.b, row.difference)]
        numbers += [from_to(row.ci_low, row.ci_high), p_value(row.p_value), p_value(row.p_adjusted)]
        power = "none" if row.detectable == math.inf else number(row.detectable, 3)
        odds = (p_value(row.p_not_better), row.verdict, power, row.test.replace("_", " "))
        table.add_row(row.task, row.metric.replace("_", " "), *numbers, *(odds if wide else ()))
        previous = row.task
    return table


def _footnote(rows: Sequence[Comparison]) -> str:
    row = rows[0]
    runs = "one model" if row.seeds == 1 else f"{row.seeds} models"
    undefined = [f"{one.task} {one.metric} {one.undefined}" for one in rows if one.undefined]
    lost = f"; without a value when left out, or resampled: {', '.join(undefined)}" if undefined else ""
    scopes = dict.fromkeys(_SCOPES[one.scope] for one in rows)
    return (
        f"{max(one.n for one in rows)} knees of {max(one.subjects for one in rows)} subjects, {runs} a side; "
        f"intervals {' or '.join(scopes)}; correction {row.correction}{lost}"
    )


def _tests(rows: Sequence[Comparison]) -> str:
    """Which row has which test; the most frequent one is told last, without its rows."""
    tested: dict[str, list[str]] = {}
    for row in rows:
        tested.setdefault(row.test, []).append(f"{row.task} {row.metric}")
    *few, (usual, _) = sorted(tested.items(), key=lambda item: len(item[1]))
    named = [f"{test.replace('_', ' ')} ({', '.join(names)})" for test, names in few]
    return f"tests: {', '.join([*named, usual.replace('_', ' ')])}{' (all else)' if few else ''}"
