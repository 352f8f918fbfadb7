"""Tables of paired differences, severity axes and saliency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from oahier.study.report.contents import Contents
from oahier.study.report.forest import COLUMNS, Difference, differences
from oahier.study.report.names import (
    CORRECTIONS,
    EFFECTS,
    KINDS,
    TESTS,
    level_name,
    method_name,
    metric_name,
    smaller_is_better,
)
from oahier.study.report.text import NOTHING, as_float, count, interval, number, p_value, signed
from oahier.study.report.views import Entry, View, alignment, resampled, value_entry, word

AXIS_COLUMNS = (
    "spearman_kl", "spearman_oa", "probe_auc", "separation", "monotonicity", "straightness", "oa_kl_cosine",
    "explained_variance", "trend_p",
)  # fmt: skip


def comparison_view(contents: Contents, name: str) -> View | None:
    """Paired differences, a row each."""
    table = contents.tables.get(name)
    if table is None:
        return None
    names, words = list(COLUMNS[name]), len(contents.group_axes) + 3
    swapped = names[1] == "method"  # methods stand before what is measured of them
    rows = [_comparison(found, swapped) for found in differences(contents, name)]
    title = {
        "comparisons": "Paired differences of performance",
        "axis_comparisons": "Paired differences of the severity axis",
        "saliency_comparisons": "Paired differences of saliency",
    }[name]
    columns = [
        *contents.group_axes, *(reversed(names) if swapped else names), "b − a", "a", "b", "difference", "p",
        "p adjusted", "effect", "test",
    ]  # fmt: skip
    return View(name, title, _comparison_note(table), columns, rows, alignment(words, 6) + "l")


def _comparison(found: Difference, swapped: bool) -> list[Entry]:
    undefined = found["undefined"]
    hint = f"{count(int(undefined), 'resample')} undefined" if undefined > 0 else ""
    names = (found.label, found.section) if swapped else (found.section, found.label)
    a, b = map(level_name, found.models)
    return [
        *map(word, (*found.levels, *names, f"{b} − {a}")),
        value_entry(found["a"]),
        value_entry(found["b"]),
        Entry(
            signed(found["difference"]), interval(found["ci_low"], found["ci_high"]), hint, found.significant,
            found["difference"],
        ),
        Entry(p_value(found["p_value"]), order=found["p_value"]),
        Entry(p_value(found["p_adjusted"]), bold=found.significant, order=found["p_adjusted"]),
        _effect(found["effect_size"], str(found.line.get("effect"))),
        word(_test(found.line.get("test"))),
    ]  # fmt: skip


def _test(name: Any) -> str:
    return "" if name is None or name != name else TESTS.get(str(name), str(name))


def _effect(value: float, kind: str) -> Entry:
    text = f"OR {number(value)}" if "odds" in kind and value == value else signed(value)
    return Entry(text, hint=EFFECTS.get(kind, kind), order=value)


def _comparison_note(table: pd.DataFrame) -> str:
    parts = ["Bold: adjusted p below 0.05.", "a, b: the two values; difference b − a with 95 % interval."]
    for column, words, names in (("correction", "Correction", CORRECTIONS), ("effect", "Effect", EFFECTS)):
        if column in table:
            found = list(dict.fromkeys(table[column].dropna().astype(str)))
            parts += [f"{words}: {'; '.join(names.get(name, name) for name in found)}."] if found else []
    parts += [f"Resampled: {resampled(table)}."] if resampled(table) else []
    if any(map(smaller_is_better, table.get("metric", ()))):
        parts.append("↓: smaller is better, so a negative difference favours b.")
    return " ".join(parts)


def axis_view(contents: Contents, kinds: Iterable[str] | None = None) -> View | None:
    """Metrics of the severity axis of every cell.

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
    one_kind = table["kind"].nunique() == 1
    rows = []
    for line in table.to_dict("records"):
        words = [word(level_name(str(line[axis]))) for axis in axes]
        kind = [] if one_kind else [word(str(line["kind"]))]
        rows.append([*words, *kind, *(_axis_entry(line[key], key) for key in shown)])
    told = [f"{kind}: {KINDS[kind]}" for kind in dict.fromkeys(table["kind"]) if kind in KINDS]
    note = f"Axis: {'; '.join(told)}. Fitted on training knees, measured on test knees. " if told else ""
    note += "ρ: Spearman correlation, absolute; d′: mean separation of neighbouring grades."
    columns = [*axes, *(() if one_kind else ("axis",)), *map(metric_name, shown)]
    return View(
        "axis",
        "Metrics of the severity axis",
        note,
        columns,
        rows,
        alignment(len(columns) - len(shown), len(shown)),
    )


def _axis_entry(value: Any, key: str) -> Entry:
    return Entry(p_value(as_float(value)), order=as_float(value)) if key == "trend_p" else value_entry(value)


def saliency_view(contents: Contents) -> View | None:
    """Every overlap metric with its chance level and controls."""
    table = contents.tables.get("saliency")
    if table is None:
        return None
    axes = contents.study.condition_axes
    table = contents.ordered(table, axes)
    rows = []
    for line in table.to_dict("records"):
        rows.append(
            [
                *(word(level_name(str(line[axis]))) for axis in axes),
                word(method_name(str(line["method"]))),
                word(metric_name(str(line["measure"]))),
                _estimate(line),
                *(value_entry(line[key], 3) for key in ("chance", "other_cartilage", "randomised", "bound")),
            ]
        )
    columns = [*axes, "method", "metric", "value", "chance", "other knees", "random weights", "bound"]
    align = alignment(len(axes) + 2, 5)
    return View("saliency", "Saliency and cartilage", _SALIENCY_NOTE, columns, rows, align)


def saliency_summary(contents: Contents) -> View | None:
    """The main overlap metrics beside their controls, a row a condition and method."""
    table = contents.tables.get("saliency")
    if table is None:
        return None
    found = set(table["measure"])
    shown = [(measure, key, name) for measure, key, name in _SUMMARY if measure in found]
    axes = contents.study.condition_axes
    table = contents.ordered(table, axes)
    rows = []
    for levels, part in table.groupby([*axes, "method"], sort=False):
        *factors, method = levels
        lines = {line["measure"]: line for line in part.to_dict("records")}
        words = [*(level_name(str(level)) for level in factors), method_name(str(method))]
        rows.append([*map(word, words), *(_saliency_entry(lines.get(m), key) for m, key, _ in shown)])
    columns = [*axes, "method", *(name for _, _, name in shown)]
    align = alignment(len(axes) + 1, len(shown))
    return View("saliency_summary", "Saliency and cartilage", _SALIENCY_NOTE, columns, rows, align)


_SALIENCY_NOTE = (
    "Chance: a map that knows nothing; for enrichment it is 1. Other knees: the same map in the cartilage of "
    "all other test knees. Random weights: the same with a head whose weights were drawn anew. Bound: what a "
    "map that knows the cartilage reaches on the grid of the features. A value is evidence only above all "
    "of its controls. –: not computed."
)
_SUMMARY = (
    ("enrichment", "value", "enrichment"),
    ("enrichment", "other_cartilage", "in other knees"),
    ("enrichment", "randomised", "with random weights"),
    ("iou", "value", "IoU"),
    ("iou", "chance", "by chance"),
    ("iou", "randomised", "with random weights"),
    ("iou", "bound", "bound"),
    ("pointing", "value", "pointing game"),
    ("pointing", "chance", "by chance"),
)
"""Metric, column of the table, heading."""


def _estimate(line: Mapping[Any, Any]) -> Entry:
    value, low, high = (as_float(line[key]) for key in ("value", "ci_low", "ci_high"))
    return Entry(number(value, 3), interval(low, high, 3), order=value)


def _saliency_entry(line: Mapping[Any, Any] | None, key: str) -> Entry:
    if line is None:
        return Entry(NOTHING, order=math.nan)
    return _estimate(line) if key == "value" else value_entry(line[key], 3)
