"""Metrics in subgroups of knees, with intervals and a test of whether they differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.clinical.calibration import NAN, Estimate
from oahier.metrics.registry import Metric
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Weights
from oahier.statistics.correction import adjust_p_values
from oahier.statistics.jackknife import leave_out
from oahier.statistics.summaries import summarise_rows

FEWEST = 10
"""Subjects below which nothing is said of a subgroup, and of each class where a metric needs both."""
BANDS: Mapping[str, tuple[float, ...]] = {"age": (55.0, 65.0), "bmi": (25.0, 30.0)}
"""Lower ends of the upper bands of common covariates."""
_CATEGORIES = 6


@dataclass(frozen=True)
class Subgroup:
    """One metric in one subgroup."""

    covariate: str
    group: str
    metric: str
    knees: int
    subjects: int
    estimate: Estimate
    note: str
    """``too few to say``, or empty."""
    p_value: float
    """Of the test that all subgroups of the covariate have one value; the same in each of its rows."""
    p_adjusted: float
    """Holm over the covariates."""


def subgroups(
    rows: Rows,
    covariates: Mapping[str, Any],
    metric: Metric,
    *,
    bands: Mapping[str, Sequence[float]] | None = None,
    fewest: int = FEWEST,
) -> list[Subgroup]:
    r"""A metric in every subgroup of every covariate.

    Intervals are those of :func:`~oahier.statistics.summarise_rows`. The test of interaction takes the
    covariance of all subgroups of a covariate from the jackknife over subjects, so that a subject may have
    knees in several of them, as with sides; it is Wald's, of
    :math:`G - 1` contrasts of the *G* subgroups that are large enough, on :math:`\chi^2_{G-1}`. A large p
    value does not say that the subgroups are alike: look at the intervals.

    Args:
        rows: labelled knees.
        covariates: by name, a value a row; ``None``, NaN and empty text are a group of their own.
        metric: any registered metric that the rows have.
        bands: where numbers are cut, by covariate; ages at 55 and 65 and body mass index at 25 and 30 kg/m²
            when not given, other numbers of more than six values at their tertiles.
        fewest: subjects that a subgroup needs.

    Raises:
        ValueError: a covariate with another number of values.
    """
    given = {**BANDS, **(bands or {})}
    tables = {}
    for name, values in covariates.items():
        if len(values) != len(rows):
            raise ValueError(f"covariate {name}: expected {len(rows)} values, one a row, got {len(values)}")
        tables[name] = _table(rows, name, as_groups(values, given.get(name.lower())), metric, fewest)
    adjusted = adjust_p_values([p for _, p in tables.values()], "holm").tolist()
    return [
        Subgroup(*found, p, corrected)
        for (lines, p), corrected in zip(tables.values(), adjusted, strict=True)
        for found in lines
    ]


def as_groups(values: Any, edges: Sequence[float] | None = None) -> npt.NDArray[np.character]:
    """The subgroup of each value: text as it is, numbers in bands.

    >>> as_groups([50, 60, None, 70], [55.0, 65.0]).tolist()
    ['below 55', '55 to 65', 'unknown', '65 or more']
    """
    texts = ["" if value is None or value != value else str(value).strip() for value in values]
    known = [text for text in texts if text]
    numbers = [_number(text) for text in known]
    plain = not known or any(number is None for number in numbers)
    if plain or (edges is None and len(set(numbers)) <= _CATEGORIES):
        return np.array([text or "unknown" for text in texts], dtype=str)
    values_known = np.array(numbers, dtype=np.float64)
    cuts = np.unique(np.quantile(values_known, [1 / 3, 2 / 3]) if edges is None else edges)
    names = [f"below {cuts[0]:g}"]
    names += [f"{low:g} to {high:g}" for low, high in itertools.pairwise(cuts)]
    names += [f"{cuts[-1]:g} or more"]
    found = iter(np.searchsorted(cuts, values_known, "right").tolist())
    return np.array([names[next(found)] if text else "unknown" for text in texts], dtype=str)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _table(
    rows: Rows, covariate: str, groups: npt.NDArray[np.character], metric: Metric, fewest: int
) -> tuple[list[tuple[str, str, str, int, int, Estimate, str]], float]:
    """Lines of one covariate, and the p value of its interaction."""
    names = [name for name in dict.fromkeys(groups.tolist()) if name != "unknown"]
    names = [*sorted(names, key=_order), *(["unknown"] if "unknown" in groups else [])]
    lines, compared = [], []
    for name in names:
        inside = groups == name
        counts = (covariate, name, metric.name, int(inside.sum()), len(np.unique(rows.subject[inside])))
        why = _too_few(rows, inside, metric, fewest)
        estimate = Estimate(NAN)
        if not why:
            (found,) = summarise_rows([rows.where(inside)], [metric])
            estimate = Estimate(found.value, found.ci_low, found.ci_high)
            compared += [inside] if name != "unknown" else []
        lines.append((*counts, estimate, why))
    return lines, _interaction(rows, metric, compared)


def _order(name: str) -> tuple[int, float, str]:
    first = name.removeprefix("below ").split(" ")[0]
    number = _number(first)
    if number is None:
        return (1, 0.0, name)
    return (0, number - 0.5 * name.startswith("below "), name)


def _too_few(rows: Rows, inside: npt.NDArray[np.bool_], metric: Metric, fewest: int) -> str:
    """Why nothing is said of a subgroup; empty where there are enough subjects, of each class if needed."""
    if len(np.unique(rows.subject[inside])) < fewest:
        return "too few to say"
    if not rows.binary:
        value = metric(inside[None].astype(np.float64), rows)[0]
        return "" if math.isfinite(value) else "undefined here"
    counts = [len(np.unique(rows.subject[inside & (rows.labels == label)])) for label in (0, 1)]
    if min(counts) == 0 and not metric.share:
        return "one class only"
    needs_both = not metric.share and min(counts) < fewest
    if metric.name == "sensitivity":
        needs_both = counts[1] < fewest
    if metric.name == "specificity":
        needs_both = counts[0] < fewest
    return "too few to say" if needs_both else ""


def _interaction(rows: Rows, metric: Metric, groups: Sequence[npt.NDArray[np.bool_]]) -> float:
    """P value that the metric has one value in all groups."""
    from scipy.stats import chi2

    if len(groups) < 2:
        return NAN
    left = leave_out([partial(_inside, metric, rows, inside) for inside in groups], rows.subject)
    contrast = np.eye(len(groups))[1:] - np.eye(len(groups))[:1]
    covariance, difference = contrast @ left.covariance @ contrast.T, contrast @ left.values
    if not np.isfinite(covariance).all() or np.linalg.matrix_rank(covariance) < len(difference):
        return 1.0 if np.abs(difference).max() < 1e-12 else NAN
    statistic = float(difference @ np.linalg.solve(covariance, difference))
    return float(chi2.sf(statistic, len(difference)))


def _inside(metric: Metric, rows: Rows, inside: npt.NDArray[np.bool_], weights: Weights) -> Floats:
    return metric(weights * inside, rows)
