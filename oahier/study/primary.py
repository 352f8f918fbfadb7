"""Primary endpoints of the definitive study: QWK, and severity against a covariate inside each block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from oahier.data import read_manifest
from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE, head_label
from oahier.metrics import find_metrics, weighted_spearman
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Weights
from oahier.statistics import Comparison
from oahier.statistics.claims import claim
from oahier.statistics.contrasts import Contrast, contrast_row, excludes_nothing
from oahier.statistics.intervals import Statistic
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.margins import Margins, margin_of
from oahier.statistics.paired_predictions import align
from oahier.statistics.random_effects import random_effects
from oahier.study.cell_files import predictions_of
from oahier.study.pairs import Pair, comparison_rows, pairs
from oahier.study.results import Study


@dataclass(frozen=True, eq=False)
class _Endpoint:
    """One endpoint of one pair: its row, and its values with and without each subject."""

    pair: Pair
    row: Comparison
    left: LeftOut
    subjects: Sequence[str]

    @property
    def changes(self) -> Floats:
        """``(units,)`` of the difference."""
        a, b = (self.left.without[: len(self.pair.a)], self.left.without[len(self.pair.a) :])
        return np.asarray(b.mean(axis=0) - a.mean(axis=0))


def primary_rows(study: Study, margins: Margins) -> list[dict[str, Any]]:
    """Rows of the primary endpoints, Holm over all of them.

    With several encoders the family is that of the summaries over them, and rows of single encoders stand
    beside it without a corrected p value.

    Args:
        study: pooled, with ``primary`` pairs and perhaps a ``covariate`` in its facts.
        margins: of ``qwk`` and ``spearman``.

    Raises:
        ValueError: a covariate that the manifest lacks.
    """
    declared = {tuple(pair) for pair in study.facts.get("primary", ())}
    first = {axis: levels[0] for axis, levels in study.factors.items() if axis == "dose"}
    chosen = [
        pair
        for pair in pairs(study)
        if (pair.model_a, pair.model_b) in declared
        and all(pair.levels[axis] == level for axis, level in first.items())
    ]
    found = [endpoint for pair in chosen for endpoint in _endpoints(study, pair, margins)]
    groups: dict[tuple[str, str, str], list[_Endpoint]] = {}
    for one in found:
        groups.setdefault((one.pair.model_a, one.pair.model_b, one.row.metric), []).append(one)
    single = [(one.pair, one.row) for one in found]
    if all(len(members) < 2 for members in groups.values()):
        return comparison_rows(single, "holm")
    family = [_summary(members, first) for members in groups.values() if len(members) > 1]
    beside = comparison_rows(single, "none")
    return comparison_rows(family, "holm") + [row | {"p_adjusted": math.nan} for row in beside]


def _endpoints(study: Study, pair: Pair, margins: Margins) -> list[_Endpoint]:
    models = [[predictions_of(cell.folder) for cell in cells] for cells in (pair.a, pair.b)]
    cohort = align([*models[0], *models[1]])
    known = [rows for side in models if (rows := cohort.rows_of_all(side, FINE)) is not None]
    if len(known) < len(models):
        return []
    qwk = next(metric for metric in find_metrics("qwk") if metric.kind == "ordinal")
    a, b = ([partial(qwk, rows=rows) for rows in side] for side in known)
    contrasts = [Contrast("qwk", a, b, largest=2.0, margin=margin_of(margins, "qwk"))]
    name = study.facts.get("covariate", "")
    if name:
        labelled = cohort.labelled(FINE)
        values = _covariate(pair, name, cohort.knee[labelled].tolist())
        contrasts += _in_blocks(name, values, known, margin_of(margins, "spearman"))
    subjects = known[0][0].subject
    made = []
    for one in contrasts:
        left = leave_out([*one.a, *one.b], subjects)
        row = contrast_row(one, left, len(subjects), head_label(FINE), paired=True)
        made.append(_Endpoint(pair, row, left, subjects.tolist()))
    return made


def _covariate(pair: Pair, name: str, knees: Sequence[str]) -> Floats:
    path = pair.a[0].config["data"]["manifest"]
    table = read_manifest(path).table.set_index("knee")
    if name not in table or table[name].dtype.kind not in "fi":
        numeric = [str(column) for column in table if table[column].dtype.kind in "fi"]
        known = ", ".join(numeric)
        raise ValueError(f"covariate: expected a column of numbers of {path} ({known}), got {name!r}")
    return table[name].reindex(list(knees)).to_numpy(dtype=np.float64)


def _in_blocks(name: str, values: Floats, sides: Sequence[Sequence[Rows]], margin: float) -> list[Contrast]:
    """Rank correlation of severity with the covariate among the knees of one block of grades.

    Its sign is that of the covariate's correlation with the grade over all knees.
    """
    labels, known = sides[0][0].labels, np.isfinite(values)
    every = weighted_spearman(known[None].astype(np.float64), np.where(known, values, 0.0), labels)[0]
    towards = -1.0 if every < 0 else 1.0
    parents = DEFAULT_HIERARCHY.parents(FINE, COARSE)
    found = []
    for block in sorted(set(parents)):
        grades = [grade for grade, parent in enumerate(parents) if parent == block]
        inside = np.flatnonzero(known & np.isin(labels, grades))
        a, b = ([_correlation(rows, towards * values, inside) for rows in side] for side in sides)
        title = f"Spearman with {name} in {head_label(FINE)} {grades[0]} to {grades[-1]}"
        found.append(Contrast(title, a, b, largest=2.0, margin=margin))
    return found


def _correlation(rows: Rows, values: Floats, inside: np.ndarray[Any, np.dtype[np.intp]]) -> Statistic:
    severity, covariate = rows.severity[inside], values[inside]

    def statistic(weights: Weights) -> Floats:
        return weighted_spearman(weights[:, inside], severity, covariate)

    return statistic


def _summary(members: Sequence[_Endpoint], first: Mapping[str, str]) -> tuple[Pair, Comparison]:
    """The mean over encoders, which are tested on the same knees."""
    rows = [one.row for one in members]
    effects = np.array([row.difference for row in rows])
    levels = {axis: first.get(axis, "all") for axis in members[0].pair.levels}
    pair = replace(members[0].pair, levels=levels)
    means = [float(np.mean([getattr(row, side) for row in rows])) for side in "ab"]
    covariance = np.zeros((len(members), len(members)))
    if len({tuple(one.subjects) for one in members}) == 1:
        changes = LeftOut(effects, np.stack([one.changes for one in members]), rows[0].subjects)
        covariance = changes.covariance
    np.fill_diagonal(covariance, [row.standard_error**2 for row in rows])
    found = random_effects(effects, covariance)
    difference, spread = found.mean, found.spread
    made = claim(difference, spread)
    note = "An encoder has no standard error."
    if math.isfinite(difference):
        note = (
            f"Random effects over {len(members)} encoders, s.d. between them {math.sqrt(found.between):.3f}; "
            f"t interval of {len(members) - 1} df."
        )
        if made.low <= -2.0 and made.high >= 2.0:
            note = f"{note} {excludes_nothing(spread.df)}"
    row = replace(
        rows[0], a=means[0], b=means[1], difference=difference, ci_low=max(made.low, -2.0),
        ci_high=min(made.high, 2.0),
        p_value=made.p_value, p_adjusted=made.p_value, p_not_better=made.p_not_better,
        detectable=made.detectable, standard_error=spread.error, df=spread.df, test="random_effects",
        effect_size=difference / spread.error, models_ci_low=math.nan, models_ci_high=math.nan,
        models_p_value=math.nan, scope="recipe", note=note,
    )  # fmt: skip
    return pair, row
