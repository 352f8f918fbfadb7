"""Standardised response mean: how large change is beside how much it varies."""

from __future__ import annotations

from functools import partial

import numpy as np

from oahier.clinical.calibration import NAN, Estimate
from oahier.metrics.weighted import Floats, Weights
from oahier.statistics.paired import paired_statistic
from oahier.statistics.values import Values, summarise_values_of
from oahier.visits.courses import Indices, Visits
from oahier.visits.findings import Finding


def response_mean(weights: Weights, change: Floats) -> Floats:
    """Mean over standard deviation of changes, for row weights ``(resamples, knees)``.

    >>> response_mean(np.ones((1, 3)), np.array([0.0, 1.0, 2.0])).tolist()
    [1.0]
    """
    total = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weights @ change / total
        variance = (weights @ change**2 - total * mean**2) / (total - 1)
        return np.where(variance > 1e-12, mean / np.sqrt(variance), NAN)


def changes(visits: Visits, known: np.ndarray, span: int | float | None = None) -> Indices:
    """``(knees, 2)`` rows of the first known visit of each knee and of one later.

    Args:
        visits: of the rows.
        known: ``(rows,)`` which rows can be used.
        span: months between the two; the last known visit when not given.
    """
    found = []
    for rows in visits.courses():
        usable = rows[known[rows]]
        if len(usable) < 2:
            continue
        after = visits.month[usable] - visits.month[usable[0]]
        later = usable[-1:] if span is None else usable[np.abs(after - span) < 0.5]
        found += [(int(usable[0]), int(later[0]))] if len(later) else []
    return np.asarray(found, dtype=np.int64).reshape(-1, 2)


def response_means(
    visits: Visits, score: Floats, other: Floats, *, names: tuple[str, str], span: int | float | None = None
) -> list[Finding]:
    """Standardised response means of two scores of the same knees, and their difference.

    Mean change over its standard deviation (Liang et al. 1990, doi:10.1097/00005650-199007000-00008);
    intervals from leaving out subjects in turn.

    Args:
        visits: of the rows.
        score: ``(rows,)``, NaN where unknown; larger for worse.
        other: what it is compared with.
        names: of both.
        span: see :func:`changes`.
    """
    pairs = changes(visits, np.isfinite(score) & np.isfinite(other), span)
    quantity = "standardised response mean, first to " + ("last" if span is None else f"{span:g} months")
    subjects = visits.subject[pairs[:, 0]]
    count = (len(pairs), len(np.unique(subjects)))
    kept = [values[pairs[:, 1]] - values[pairs[:, 0]] for values in (score, other)]
    if count[1] < 3 or any(np.ptp(change) < 1e-12 for change in kept):
        note = "needs three subjects with change that varies"
        return [Finding(quantity, name, Estimate(NAN), *count, note=note) for name in names]
    both = [partial(response_mean, change=change) for change in kept]
    rows = summarise_values_of([Values(quantity, [one]) for one in both], subjects)
    found = [
        Finding(quantity, name, Estimate(row.value, row.ci_low, row.ci_high), *count)
        for name, row in zip(names, rows, strict=True)
    ]
    gap = paired_statistic([both[1]], [both[0]], subjects)
    difference = Estimate(gap.difference, gap.ci_low, gap.ci_high)
    return [*found, Finding(quantity, f"{names[0]} less {names[1]}", difference, *count, p_value=gap.p_value)]
