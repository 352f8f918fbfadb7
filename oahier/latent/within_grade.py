"""Order along an axis inside one grade, and inside the knees with and without OA, against a covariate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY, FINE
from oahier.metrics.weighted import Floats, Weights, weighted_spearman
from oahier.statistics.values import Values, summarise_values_of
from oahier.types import MISSING

FEWEST = 10
"""Subjects with whom a correlation is reported; fewer give none."""
Coordinates = npt.NDArray[np.float64]
Grades = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WithinGrade:
    """Spearman correlation of an axis with a covariate among the knees of a group."""

    covariate: str
    group: str
    """``kl_0`` ... of one grade, ``oa_0`` (KL 0, 1) and ``oa_1`` (KL 2 to 4), or ``kl``, the mean over the
    grades by their numbers of knees."""
    spearman: float
    ci_low: float
    ci_high: float
    knees: int
    subjects: int
    note: str
    """Why there is no value; empty where there is one."""


def order_within_grades(
    projection: Coordinates,
    grades: Grades,
    covariates: Mapping[str, Coordinates],
    subjects: Sequence[str],
) -> list[WithinGrade]:
    """How far an axis orders knees whom the label calls alike.

    A grade cannot explain an order inside it. It is signed: with a covariate that falls as disease advances,
    such as cartilage thickness, an axis that orders well has a negative one. Intervals leave out subjects in
    turn, on Fisher's scale.

    Args:
        projection: ``(knees,)`` coordinates along an axis that was fitted on other knees.
        grades: ``(knees,)``, ``MISSING`` where unknown.
        covariates: ``(knees,)`` by name, NaN where unknown.
        subjects: ``(knees,)``.

    Returns:
        Rows for each covariate and group; NaN with the reason where fewer than :data:`FEWEST` subjects have
        all three, or one of them does not vary.

    >>> grades, place = np.repeat([0, 1], 12), np.tile(np.arange(12.0), 2)
    >>> rows = order_within_grades(place, grades, {"thickness": -place}, [str(row) for row in range(24)])
    >>> [(row.group, row.spearman) for row in rows if not row.note]
    [('kl_0', -1.0), ('kl_1', -1.0), ('oa_0', -1.0), ('kl', -1.0)]
    """
    names = np.asarray(subjects, dtype=str)
    found = []
    for covariate, values in covariates.items():
        known = np.isfinite(projection) & np.isfinite(values) & (grades != MISSING)
        place, level, value, who = projection[known], grades[known], values[known], names[known]
        for group, inside in _groups(level):
            row = partial(weighted_spearman, scores=place[inside], labels=value[inside])
            found.append(_row(covariate, group, row, place[inside], value[inside], who[inside]))
        usual = [inside for group, inside in _groups(level) if not group.startswith(COARSE)]
        enough = [inside for inside in usual if not _why_not(place[inside], value[inside], who[inside])]
        if enough:
            any_of = np.any(enough, axis=0)
            mean = partial(_mean_over_grades, place=place[any_of], value=value[any_of], grades=level[any_of])
            found.append(_row(covariate, FINE, mean, place[any_of], value[any_of], who[any_of]))
        else:
            why = f"no grade with {FEWEST} subjects"
            nan = float("nan")
            found.append(WithinGrade(covariate, FINE, nan, nan, nan, 0, 0, why))
    return found


def _groups(grades: Grades) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    for grade in range(DEFAULT_HIERARCHY.num_classes(FINE)):
        yield f"{FINE}_{grade}", grades == grade
    parents = np.asarray(DEFAULT_HIERARCHY.parents(FINE, COARSE))
    for label in range(DEFAULT_HIERARCHY.num_classes(COARSE)):
        yield f"{COARSE}_{label}", np.isin(grades, np.flatnonzero(parents == label))


def _row(
    covariate: str, group: str, statistic: partial[Floats], place: Coordinates, value: Coordinates,
    subjects: npt.NDArray[np.character],
) -> WithinGrade:  # fmt: skip
    people, why = len(np.unique(subjects)), _why_not(place, value, subjects)
    if why:
        nan = float("nan")
        return WithinGrade(covariate, group, nan, nan, nan, len(place), people, why)
    (row,) = summarise_values_of([Values(group, [statistic], scale="fisher")], subjects)
    return WithinGrade(covariate, group, row.value, row.ci_low, row.ci_high, len(place), people, "")


def _why_not(place: Coordinates, value: Coordinates, subjects: npt.NDArray[np.character]) -> str:
    people = len(np.unique(subjects))
    if people < FEWEST:
        return f"{people} subjects, {FEWEST} are needed"
    if np.ptp(value) == 0 or np.ptp(place) == 0:
        return f"the {'covariate' if np.ptp(value) == 0 else 'axis'} does not vary"
    return ""


def _mean_over_grades(weights: Weights, *, place: Coordinates, value: Coordinates, grades: Grades) -> Floats:
    """Mean of the correlations inside each grade, by the number of knees."""
    each, size = [], []
    for grade in np.unique(grades):
        inside = grades == grade
        each.append(weighted_spearman(weights[:, inside], place[inside], value[inside]))
        size.append(weights[:, inside].sum(axis=1))
    return np.asarray((np.array(each) * np.array(size)).sum(axis=0) / np.sum(size, axis=0))
