"""Tables of order inside grades and of the similarity of embeddings."""

from __future__ import annotations

from oahier.hierarchy import COARSE, FINE, head_label
from oahier.study.report.contents import Contents
from oahier.study.report.names import level_name
from oahier.study.report.views import Entry, View, alignment, estimate_entry, sample_hint, word


def order_view(contents: Contents) -> View | None:
    """Spearman's correlation of each axis with covariates inside grades, a column a group."""
    table = contents.tables.get("axis_order")
    if table is None:
        return None
    axes = list(contents.study.factors)
    table = contents.ordered(table[table["kind"] == "pca"], axes)
    groups = list(dict.fromkeys(table["group"]))
    rows = []
    for levels, part in table.groupby([*axes, "covariate"], sort=False):
        lines = {line["group"]: line for line in part.to_dict("records")}
        words = [*map(level_name, map(str, levels[:-1])), str(levels[-1])]
        found = (lines[group] for group in groups)
        shown = (estimate_entry(line, "spearman", hint=sample_hint(line)) for line in found)
        rows.append([*map(word, words), *shown])
    note = (
        "Spearman's ρ of the first principal component with the covariate among knees of one grade, and "
        "among those without and with OA; 95 % interval over test subjects. The sign is the covariate's: "
        "cartilage thickness falls as disease advances. –: not known; point at it for the reason. "
        "Inside grades: mean over the grades by their numbers of knees."
    )
    columns = [*axes, "covariate", *map(_group, groups)]
    align = alignment(len(axes) + 1, len(groups))
    return View("axis_order", "Order inside grades", note, columns, rows, align)


def similarity_view(contents: Contents) -> View | None:
    """CKA between seeds and between the compared levels, a row each."""
    table = contents.tables.get("similarity")
    if table is None:
        return None
    rows = []
    for line in table.to_dict("records"):
        sides = [level_name(str(line[side])) for side in ("a", "b")]
        others = [level_name(str(line[axis])) for axis in contents.group_axes]
        shown = estimate_entry(line, "cka")
        pairs = Entry(str(line["pairs"]), order=float(line["pairs"]))
        rows.append([*map(word, [*others, str(line["between"]), *sides]), shown, pairs])
    note = (
        "Debiased linear centred kernel alignment of the embeddings of the test knees, mean over pairs of "
        "cells: 1 is the same up to rotation and scale, 0 unrelated. 95 % interval over test subjects, of "
        "these trained models. A value between two levels says something only beside those between seeds."
    )
    columns = [*contents.group_axes, "between", "a", "b", "CKA", "pairs"]
    align = alignment(len(contents.group_axes) + 3, 2)
    return View("similarity", "Similarity of embeddings", note, columns, rows, align)


def _group(name: str) -> str:
    """A group as it is read.

    >>> _group("kl_3"), _group("oa_0"), _group("kl")
    ('KL 3', 'no OA', 'inside grades')
    """
    level, _, label = name.partition("_")
    if name == FINE:
        return "inside grades"
    if level == COARSE:
        return head_label(level) if label == "1" else f"no {head_label(level)}"
    return f"{head_label(level)} {label}"
