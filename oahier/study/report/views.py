"""Tables as they are printed, on the page and in LaTeX alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oahier.study.report.contents import Contents, read_facts
from oahier.study.report.forest import SIGNIFICANT, section_name
from oahier.study.report.names import (
    KINDS,
    SMALLER_IS_BETTER,
    arrow,
    level_name,
    method_name,
    metric_name,
)
from oahier.study.report.panels import truth
from oahier.study.report.text import NOTHING, count, interval, number, p_value, signed

AXIS_COLUMNS = (
    "spearman_kl", "spearman_oa", "probe_auc", "separation", "monotonicity", "straightness", "oa_kl_cosine",
    "explained_variance", "trend_p",
)  # fmt: skip
MAIN_SALIENCY = ("enrichment", "mass_in_cartilage", "iou", "pointing")


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


def _align(words: int, numbers: int) -> str:
    return "l" * words + "r" * numbers


def _word(text: str) -> Entry:
    return Entry(text, order=text)


def _value(value: Any, digits: int = 2) -> Entry:
    value = _float(value)
    return Entry(number(value, digits), order=value)


def _float(value: Any) -> float:
    return math.nan if value is None or value != value or value == "" else float(value)


def cells_view(contents: Contents) -> View:
    """Every cell with its state and, where it failed, why."""
    axes = list(contents.study.factors)
    rows = []
    for cell in contents.study.cells:
        facts = read_facts(cell) if cell.state == "finished" else {}
        rows.append(
            [
                *(_word(level_name(cell.factors[axis])) for axis in axes),
                Entry(cell.state, hint=cell.folder.name, order=cell.state),
                _value(facts.get("epoch"), 0),
                _value(None if facts.get("seconds") is None else facts["seconds"] / 60, 1),
                _word(cell.error if cell.state == "failed" else ""),
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
    return [
        _headline(contents, part, str(task), axes) for task, part in table.groupby("task", sort=False)
    ]


def _headline(contents: Contents, table: pd.DataFrame, task: str, axes: Sequence[str]) -> View:
    metrics = list(dict.fromkeys(table["metric"]))
    best = _best(table, contents.group_axes)
    rows = []
    for levels, part in table.groupby(list(axes), sort=False) if axes else [((), table)]:
        factors = dict(zip(axes, levels if isinstance(levels, tuple) else (levels,), strict=True))
        lines = {line["metric"]: line for line in part.to_dict("records")}
        probe = any(truth(line["probe"]) for line in lines.values())
        words = [level_name(str(factors[axis])) for axis in axes] or ["all"]
        words[-1] += "†" * probe
        bold = best.get(tuple(str(factors[axis]) for axis in contents.group_axes), {})
        rows.append(
            [*map(_word, words), *(_headline_entry(lines.get(metric), bold.get(metric)) for metric in metrics)]
        )
    columns = [*(axes or ["condition"]), *map(arrow, metrics)]
    note = _headline_note(table, bool(contents.group_axes))
    return View(f"headline_{task.lower()}", f"{task} on the test split", note, columns, rows, _align(len(axes) or 1, len(metrics)))


def _headline_entry(line: Mapping[Any, Any] | None, best: float | None) -> Entry:
    if line is None:
        return Entry(NOTHING, order=math.nan)
    value = _float(line["value"])
    seeds = int(_float(line["seeds"])) if _float(line["seeds"]) == _float(line["seeds"]) else 0
    spread = _float(line["seed_sd"])
    hints = [count(seeds, "seed")]
    hints.append("no standard deviation" if math.isnan(spread) else f"standard deviation {number(spread, 3)}")
    undefined = _float(line.get("undefined"))
    if undefined > 0:
        hints.append(f"{count(int(undefined), 'resample')} undefined")
    bold = best is not None and number(value) == number(best)  # ties in print are ties
    return Entry(
        number(value), interval(_float(line["ci_low"]), _float(line["ci_high"])), ", ".join(hints), bold, value
    )


def _best(table: pd.DataFrame, axes: Sequence[str]) -> dict[tuple[str, ...], dict[str, float]]:
    """The best value of each metric within each group of conditions that are compared."""
    best: dict[tuple[str, ...], dict[str, float]] = {}
    for line in table.dropna(subset=["value"]).to_dict("records"):
        group = best.setdefault(tuple(str(line[axis]) for axis in axes), {})
        metric, value = str(line["metric"]), float(line["value"])
        choose = min if metric in SMALLER_IS_BETTER else max
        group[metric] = choose(group.get(metric, value), value)
    return best


def _headline_note(table: pd.DataFrame, grouped: bool) -> str:
    seeds = sorted({int(value) for value in table["seeds"].dropna()})
    several = bool(seeds) and seeds[-1] > 1
    parts = ["Mean over seeds with 95 % interval." if several else "Value with 95 % interval, one seed only."]
    if "resampled" in table:
        units = sorted(set(table["resampled"].dropna().astype(str)))
        parts += [f"Resampled: {'; '.join(units)}."] if units else []
    if len(seeds) > 1:
        parts.append(f"Conditions have {seeds[0]} to {seeds[-1]} seeds, because not all cells have finished.")
    where = "of each group of compared rows" if grouped else "of the column"
    parts.append(f"Bold: best value {where}, which is no test of a difference.")
    if any(map(truth, table["probe"])):
        parts.append("†: read out by a probe that did not teach the encoder.")
    if any(metric in SMALLER_IS_BETTER for metric in table["metric"]):
        parts.append("↓: smaller is better.")
    return " ".join(parts)


def comparison_view(contents: Contents, name: str) -> View | None:
    """Paired differences, a row each."""
    table = contents.tables.get(name)
    if table is None:
        return None
    first, second = {
        "comparisons": ("task", "metric"),
        "axis_comparisons": ("kind", "metric"),
        "saliency_comparisons": ("method", "measure"),
    }[name]
    table = contents.ordered(table, contents.group_axes)
    rows = [_comparison(contents, line, first, second) for line in table.to_dict("records")]
    title = {
        "comparisons": "Paired differences of performance",
        "axis_comparisons": "Paired differences of the severity axis",
        "saliency_comparisons": "Paired differences of saliency",
    }[name]
    columns = [
        *contents.group_axes, first, second, "b − a", "a", "b", "difference", "p", "p adjusted", "effect",
        "test",
    ]  # fmt: skip
    align = _align(len(contents.group_axes) + 3, 6) + "l"
    return View(name, title, _comparison_note(table), columns, rows, align)


def _comparison(contents: Contents, line: Mapping[Any, Any], first: str, second: str) -> list[Entry]:
    difference, adjusted = _float(line["difference"]), _float(line["p_adjusted"])
    kind = method_name(str(line[first])) if first == "method" else section_name(first, str(line[first]))
    effect = _float(line.get("effect_size"))
    pair = f"{level_name(str(line['model_b']))} − {level_name(str(line['model_a']))}"
    undefined = _float(line.get("undefined"))
    hint = f"{count(int(undefined), 'resample')} undefined" if undefined > 0 else ""
    return [
        *(_word(level_name(str(line[axis]))) for axis in contents.group_axes),
        _word(kind),
        _word(arrow(str(line[second]))),
        _word(pair),
        _value(line.get("a")),
        _value(line.get("b")),
        Entry(
            signed(difference), interval(_float(line["ci_low"]), _float(line["ci_high"])), hint,
            adjusted < SIGNIFICANT, difference,
        ),
        Entry(p_value(_float(line["p_value"])), order=_float(line["p_value"])),
        Entry(p_value(adjusted), bold=adjusted < SIGNIFICANT, order=adjusted),
        Entry(signed(effect), hint=str(line.get("effect") or ""), order=effect),
        _word("" if line.get("test") != line.get("test") else str(line.get("test", ""))),
    ]  # fmt: skip


def _comparison_note(table: pd.DataFrame) -> str:
    parts = ["Bold: adjusted p below 0.05.", "a, b: the two values; difference b − a with 95 % interval."]
    for column, words in (("correction", "Correction"), ("resampled", "Resampled"), ("effect", "Effect")):
        if column in table:
            found = list(dict.fromkeys(table[column].dropna().astype(str)))
            parts += [f"{words}: {'; '.join(found)}."] if found else []
    if any(metric in SMALLER_IS_BETTER for metric in table.get("metric", ())):
        parts.append("↓: smaller is better, so a negative difference favours b.")
    return " ".join(parts)


def axis_view(contents: Contents, kinds: Iterable[str] | None = None) -> View | None:
    """Measures of the severity axis of every cell.

    Args:
        contents: the study.
        kinds: axes to show; all when not given.
    """
    table = contents.tables.get("axis")
    if table is None:
        return None
    if kinds is not None:
        table = table[table["kind"].isin(list(kinds))]
    axes = list(contents.study.factors)
    table = contents.ordered(table, axes)
    shown = [column for column in AXIS_COLUMNS if column in table]
    rows = []
    for line in table.to_dict("records"):
        words = [_word(level_name(str(line[axis]))) for axis in axes]
        rows.append([*words, _word(str(line["kind"])), *(_axis_entry(line[key], key) for key in shown)])
    told = [f"{kind}: {KINDS[kind]}" for kind in dict.fromkeys(table["kind"]) if kind in KINDS]
    note = f"Axis: {'; '.join(told)}. Fitted on training knees, measured on test knees. " if told else ""
    note += "ρ: Spearman correlation, absolute; d′: mean separation of neighbouring grades."
    columns = [*axes, "axis", *map(metric_name, shown)]
    return View("axis", "Measures of the severity axis", note, columns, rows, _align(len(axes) + 1, len(shown)))


def _axis_entry(value: Any, key: str) -> Entry:
    return Entry(p_value(_float(value)), order=_float(value)) if key == "trend_p" else _value(value)


def saliency_view(contents: Contents, measures: Sequence[str] | None = None) -> View | None:
    """Saliency with its chance level and controls.

    Args:
        contents: the study.
        measures: measures to show; all when not given.
    """
    table = contents.tables.get("saliency")
    if table is None:
        return None
    if measures is not None:
        table = table[table["measure"].isin(list(measures))]
    axes = contents.study.condition_axes
    table = contents.ordered(table, axes)
    rows = []
    for line in table.to_dict("records"):
        value, low, high = (_float(line[key]) for key in ("value", "ci_low", "ci_high"))
        rows.append(
            [
                *(_word(level_name(str(line[axis]))) for axis in axes),
                _word(method_name(str(line["method"]))),
                _word(metric_name(str(line["measure"]))),
                Entry(number(value, 3), interval(low, high, 3), order=value),
                *(_value(line[key], 3) for key in ("chance", "other_cartilage", "randomised", "bound")),
            ]
        )
    note = (
        "Chance: a map that knows nothing. Other knees: the same map in the cartilage of all other test knees. "
        "Random weights: the same with a head whose weights were drawn anew. Bound: what a map that knows the "
        "cartilage reaches on the grid of the features. A value is evidence only above all of its controls."
    )
    columns = [*axes, "method", "measure", "value", "chance", "other knees", "random weights", "bound"]
    return View("saliency", "Saliency and cartilage", note, columns, rows, _align(len(axes) + 2, 5))
