"""Tables as they are printed, on the page and in LaTeX alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oahier.hierarchy import COARSE, FINE, OA_FROM_GRADE, head_label
from oahier.pages.text import NOTHING, as_float, count, interval, listed, number
from oahier.study.cell_files import read_facts
from oahier.study.report.contents import Contents
from oahier.study.report.names import arrow, level_name, metric_name, smaller_is_better
from oahier.study.report.panels import truth


@dataclass(frozen=True)
class Entry:
    """One cell of a table.

    Args:
        text: the value.
        detail: smaller, after it: an interval.
        hint: shown while pointing at it.
        bold: best of its kind.
        order: what the column is sorted by.
    """

    text: str
    detail: str = ""
    hint: str = ""
    bold: bool = False
    order: float | str = ""


@dataclass(frozen=True)
class View:
    """A table.

    Args:
        name: of its files.
        title: caption.
        note: sentences under it.
        columns: headings.
        rows: entries.
        align: of each column, ``l`` words, ``w`` sentences or ``r`` numbers.
    """

    name: str
    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    align: str

    def starts_group(self, place: int) -> bool:
        """True for a row that is the first with its first word, where several rows have the same."""
        first = [row[0].text for row in self.rows]
        return place > 0 and first[place] != first[place - 1] and len(set(first)) < len(first)


def alignment(words: int, numbers: int) -> str:
    """Columns of words, then columns of numbers."""
    return "l" * words + "r" * numbers


def word(text: str) -> Entry:
    """A cell of words."""
    return Entry(text, order=text)


def value_entry(value: Any, digits: int = 2) -> Entry:
    """A cell with a number, or a dash."""
    value = as_float(value)
    return Entry(number(value, digits), order=value)


def estimate_entry(
    line: Mapping[Any, Any], value: str = "value", ends: str = "ci", *, digits: int = 2, hint: str = ""
) -> Entry:
    """A cell with a number of a row and its interval, in the columns ``<ends>_low`` and ``<ends>_high``."""
    found, low, high = (as_float(line[key]) for key in (value, f"{ends}_low", f"{ends}_high"))
    return Entry(number(found, digits), interval(low, high, digits), hint, order=found)


def sample_hint(line: Mapping[Any, Any]) -> str:
    """How many knees and subjects a row is of, and its note."""
    note = line.get("note")
    size = f"{int(line['knees'])} knees of {int(line['subjects'])} subjects"
    return f"{size}; {note}" if isinstance(note, str) and note else size


def cells_view(contents: Contents) -> View:
    """Every cell with its state and, where it failed, why."""
    axes = list(contents.study.factors)
    rows = []
    for cell in contents.study.cells:
        facts = read_facts(cell) if cell.state == "finished" else {}
        rows.append(
            [
                *(word(level_name(cell.factors[axis])) for axis in axes),
                Entry(cell.state, hint=cell.folder.name, order=cell.state),
                value_entry(facts.get("epoch"), 0),
                value_entry(None if facts.get("seconds") is None else facts["seconds"] / 60, 1),
                word(cell.error if cell.state == "failed" else ""),
            ]
        )
    note = "Epoch: the one whose weights were tested."
    columns = [*axes, "state", "epoch", "minutes", "error"]
    return View("cells", "Cells of the study", note, columns, rows, "l" * len(axes) + "lrrw")


def headline_views(contents: Contents) -> list[View]:
    """One table a task: rows are conditions, columns metrics."""
    table = contents.tables.get("headline")
    if table is None:
        return []
    axes = contents.study.condition_axes
    table = contents.ordered(table, axes)
    return [_headline(contents, part, str(task), axes) for task, part in table.groupby("task", sort=False)]


def _headline(contents: Contents, table: pd.DataFrame, task: str, axes: Sequence[str]) -> View:
    metrics = list(dict.fromkeys(table["metric"]))
    best = _best(table, contents.group_axes)
    rows = []
    for levels, part in table.groupby(list(axes), sort=False) if axes else [((), table)]:
        factors = dict(zip(axes, levels if isinstance(levels, tuple) else (levels,), strict=True))
        lines = {line["metric"]: line for line in part.to_dict("records")}
        probe = any(truth(line["probe"]) for line in lines.values())
        derived = task == head_label(COARSE) and contents.without_head(factors, COARSE)
        words = [level_name(str(factors[axis])) for axis in axes] or ["all"]
        words[-1] += "†" * probe + "‡" * derived
        bold = best.get(tuple(str(factors[axis]) for axis in contents.group_axes), {})
        rows.append(
            [
                *map(word, words),
                *(_headline_entry(lines.get(metric), bold.get(metric)) for metric in metrics),
            ]
        )
    columns = [*(axes or ["condition"]), *map(arrow, metrics)]
    note = _headline_note(table, bool(contents.group_axes))
    if any("‡" in entry.text for row in rows for entry in row):
        note += (
            f" ‡: without an {task} head; P({task}) is the sum of the probabilities of {head_label(FINE)} "
            f"{OA_FROM_GRADE} and more."
        )
    return View(
        f"headline_{task.lower()}",
        f"{task} on the test split",
        note,
        columns,
        rows,
        alignment(len(axes) or 1, len(metrics)),
    )


def _headline_entry(line: Mapping[Any, Any] | None, best: float | None) -> Entry:
    if line is None:
        return Entry(NOTHING, order=math.nan)
    value = as_float(line["value"])
    seeds = int(as_float(line["seeds"])) if as_float(line["seeds"]) == as_float(line["seeds"]) else 0
    spread = as_float(line["seed_sd"])
    hints = [count(seeds, "seed")]
    hints.append("no standard deviation" if math.isnan(spread) else f"standard deviation {number(spread, 3)}")
    undefined = as_float(line.get("undefined"))
    if undefined > 0:
        hints.append(f"undefined without {count(int(undefined), 'subject')}")
    bold = best is not None and number(value) == number(best)  # ties in print are ties
    return Entry(
        number(value),
        interval(as_float(line["ci_low"]), as_float(line["ci_high"])),
        ", ".join(hints),
        bold,
        value,
    )


def _best(table: pd.DataFrame, axes: Sequence[str]) -> dict[tuple[str, ...], dict[str, float]]:
    """The best value of each metric within each group of conditions that are compared."""
    best: dict[tuple[str, ...], dict[str, float]] = {}
    for line in table.dropna(subset=["value"]).to_dict("records"):
        group = best.setdefault(tuple(str(line[axis]) for axis in axes), {})
        metric, value = str(line["metric"]), float(line["value"])
        choose = min if smaller_is_better(metric) else max
        group[metric] = choose(group.get(metric, value), value)
    return best


def _headline_note(table: pd.DataFrame, grouped: bool) -> str:
    seeds = sorted({int(value) for value in table["seeds"].dropna()})
    several = bool(seeds) and seeds[-1] > 1
    parts = ["Mean over seeds with 95 % interval." if several else "Value with 95 % interval, one seed only."]
    parts += [scope_words(table)] if scope_words(table) else []
    if len(seeds) > 1:
        parts.append(f"Conditions have {seeds[0]} to {seeds[-1]} seeds, because not all cells have finished.")
    where = "of each group of compared rows" if grouped else "of the column"
    parts.append(f"Bold: best value {where}, which is no test of a difference.")
    if any(map(truth, table["probe"])):
        parts.append("†: read out by a probe, whose gradients do not reach the encoder.")
    if any(map(smaller_is_better, table["metric"])):
        parts.append("↓: smaller is better.")
    return " ".join(parts)


SCOPES = {
    "recipe": "for new knees and new runs of the recipe (seeds as readers, Obuchowski and Rockette)",
    "trained models": "for new knees and the trained models as they are",
    "one run": "for new knees, conditional on the one run of each model",
}


def scope_words(table: pd.DataFrame) -> str:
    """What the intervals hold for, as a sentence."""
    found = list(dict.fromkeys(table["scope"].dropna().astype(str))) if "scope" in table else []
    said = [SCOPES[scope] for scope in found if scope in SCOPES]
    which = "; the column scope of the CSV file says which" if len(said) > 1 else ""
    return f"Intervals hold {', or '.join(said)}{which}." if said else ""


def margin_words(table: pd.DataFrame) -> str:
    """The stated margins of a table of differences, in words."""
    margins = table[["metric", "margin"]].dropna() if {"metric", "margin"} <= set(table) else table[:0]
    if not len(margins):
        return "no margin was stated, so nothing is called equivalent or non-inferior"
    stated: dict[str, list[str]] = {}
    for metric, margin in margins.drop_duplicates().itertuples(index=False):
        stated.setdefault(str(margin), []).append(metric_name(str(metric)))
    return "margin " + "; ".join(f"{value} for {listed(names)}" for value, names in stated.items())
