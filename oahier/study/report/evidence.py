"""Tables of paired differences, severity axes and saliency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from oahier.pages.text import NOTHING, as_float, interval, number, p_value, signed
from oahier.statistics import Comparison, sentences
from oahier.study.report.contents import Contents
from oahier.study.report.forest import COLUMNS, Difference, differences
from oahier.study.report.names import (
    CORRECTIONS,
    KINDS,
    TESTS,
    level_name,
    method_name,
    metric_name,
    smaller_is_better,
)
from oahier.study.report.views import (
    Entry,
    View,
    alignment,
    estimate_entry,
    margin_words,
    scope_words,
    value_entry,
    word,
)

AXIS_COLUMNS = (
    "spearman_kl", "spearman_oa", "probe_auc", "separation", "monotonicity", "straightness",
    "straightness_chance", "straightness_unbiased", "oa_kl_cosine", "oa_kl_cosine_unbiased", "split_half",
    "discernible", "explained_variance", "trend_p",
)  # fmt: skip


_COUNTS = ("n", "subjects", "seeds", "undefined")
"""Whole numbers of a row."""


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
        "primary_comparisons": "Primary endpoints",
        "axis_comparisons": "Paired differences of the severity axis",
        "change_comparisons": "Paired differences of change over visits",
        "saliency_comparisons": "Paired differences of saliency",
    }[name]
    names = ["method", "metric"] if swapped else names
    columns = [
        *contents.group_axes, *names, "b − a", "a", "b", "difference", "p",
        "p adjusted", "b not better", "verdict", "seen at 80 %", "test",
    ]  # fmt: skip
    return View(name, title, _comparison_note(table), columns, rows, alignment(words, 6) + "lrl")


def comparison_sentences(contents: Contents, name: str) -> list[str]:
    """Every comparison in words: for the recipe, and for the trained models as they are."""
    table = contents.tables.get(name)
    if table is None or "scope" not in table:
        return []
    found = []
    for row in differences(contents, name):
        line = {field.name: row.line[field.name] for field in fields(Comparison) if field.name in row.line}
        known: dict[str, Any] = {
            key: float(x) if isinstance(x, int) and key not in _COUNTS else x for key, x in line.items()
        }
        words: dict[str, Any] = {"task": row.section, "metric": row.label, "note": _words(line.get("note"))}
        said = sentences(Comparison(**(known | words)), *map(level_name, row.models))
        found.append(" ".join([*row.levels, *said]).replace(" -", " −"))
    return found


def _comparison(found: Difference, swapped: bool) -> list[Entry]:
    undefined = found["undefined"]
    hint = _words(found.line.get("note")) or (f"{int(undefined)} undefined" if undefined > 0 else "")
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
        Entry(number(found["p_not_better"], 3), order=found["p_not_better"]),
        word(_words(found.line.get("verdict"))),
        Entry(_seen(found["detectable"]), order=found["detectable"]),
        word(_test(found.line.get("test"))),
    ]  # fmt: skip


def _seen(detectable: float) -> str:
    return "none" if detectable == math.inf else number(detectable)


def _test(name: Any) -> str:
    return "" if name is None or name != name else TESTS.get(str(name), str(name))


def _words(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _comparison_note(table: pd.DataFrame) -> str:
    parts = ["Bold: adjusted p below 0.05.", "a, b: the two values; difference b − a with 95 % interval."]
    if "correction" in table:
        found = list(dict.fromkeys(table["correction"].dropna().astype(str)))
        parts += [f"Correction: {'; '.join(CORRECTIONS.get(name, name) for name in found)}."] if found else []
    parts += [scope_words(table)] if scope_words(table) else []
    if "p_not_better" in table:
        parts.append(
            "b not better: chance that b is not better than a, given these data and a flat prior. "
            f"Verdict: {margin_words(table)}. Seen at 80 %: smallest true difference that this design finds "
            "with 80 % power; none: no possible one."
        )
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
        rows.append([*words, *kind, *(_axis_entry(line, key) for key in shown)])
    told = [f"{kind}: {KINDS[kind]}" for kind in dict.fromkeys(table["kind"]) if kind in KINDS]
    note = f"Axis: {'; '.join(told)}. Fitted on training knees, measured on test knees. " if told else ""
    note += (
        "ρ: Spearman correlation, absolute; d′: mean separation of neighbouring grades. Unbiased values are "
        "not defined (–) where what they divide by is not above the scatter of the knees."
    )
    if "discernible" in shown:
        note += (
            " Grades told apart: central 95 % of the test knees over the smallest difference of two scans of "
            "a knee that is not error, with its 95 % interval."
        )
    columns = [*axes, *(() if one_kind else ("axis",)), *map(metric_name, shown)]
    return View(
        "axis",
        "Metrics of the severity axis",
        note,
        columns,
        rows,
        alignment(len(columns) - len(shown), len(shown)),
    )


def _axis_entry(line: Mapping[Any, Any], key: str) -> Entry:
    value = as_float(line[key])
    if key == "discernible":
        return estimate_entry(line, key, key, digits=1, hint=_words(line.get(f"{key}_note")))
    return Entry(p_value(value), order=value) if key == "trend_p" else value_entry(value)


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
                estimate_entry(line, digits=3),
                *(value_entry(line.get(key, math.nan), 3) for key in _FLOORS),
            ]
        )
    columns = [
        *axes,
        "method",
        "metric",
        "value",
        "chance",
        "the image",
        "other knees",
        "random weights",
        "bound",
    ]
    align = alignment(len(axes) + 2, 6)
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
    "all other test knees. Random weights: the same with a network whose weights were drawn anew. The image: "
    "the positive voxels of the MRI. Bound: what a map that knows the cartilage reaches on the grid of the "
    "features. A value is evidence only above all "
    "of its controls. –: not computed."
)
_FLOORS = ("chance", "image", "other_cartilage", "randomised", "bound")
_SUMMARY = (
    ("enrichment", "value", "enrichment"),
    ("enrichment", "image", "of the image"),
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


def _saliency_entry(line: Mapping[Any, Any] | None, key: str) -> Entry:
    if line is None:
        return Entry(NOTHING, order=math.nan)
    return estimate_entry(line, digits=3) if key == "value" else value_entry(line.get(key, math.nan), 3)
