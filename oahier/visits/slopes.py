"""Slope of a score with time, knee by knee, from a linear mixed model."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from oahier.clinical.calibration import NAN, Estimate
from oahier.metrics.weighted import Floats, Weights
from oahier.statistics.values import Values, summarise_values_of
from oahier.visits.courses import Visits


@dataclass(frozen=True, eq=False)
class Slopes:
    """Change a year."""

    mean: Estimate
    spread: float
    """Standard deviation of the slopes of knees."""
    residual: float
    """Standard deviation of a visit about the line of its knee."""
    knee: Floats
    """``(knees,)`` predicted slope of each knee by its number; NaN for one without two visits."""
    knees: int
    subjects: int
    note: str = ""

    @property
    def detectable(self) -> float:
        r"""Smallest change between two visits beyond their error, :math:`1.96 \sqrt 2` residual s.d."""
        return 1.959964 * math.sqrt(2) * self.residual


def slopes(visits: Visits, score: Floats) -> Slopes:
    r"""Slopes of knees by a model with random intercepts and slopes, *t* in years.

    In :math:`y_{kt} = a + b\,t + a_k + b_k\,t + e_{kt}` (Laird & Ware 1982, doi:10.2307/2529876) the
    variances are those of statsmodels' ``MixedLM`` (restricted likelihood). The interval of *b* is that of
    leaving out subjects in turn with these variances held, so that both knees of a subject are one unit. A
    predicted slope of a knee is drawn towards *b*; where no knee has three visits, it is *b*.

    Args:
        visits: of the rows.
        score: ``(rows,)``, NaN where unknown; knees with two known visits or more are used.

    Returns:
        NaN with a note where fewer than three knees have two visits or the model cannot be fitted.
    """
    courses = [rows[np.isfinite(score[rows])] for rows in visits.courses()]
    courses = [rows for rows in courses if len(rows) > 1]
    numbers = [int(visits.knee[rows[0]]) for rows in courses]
    subjects = np.array([visits.subject[rows[0]] for rows in courses], dtype=str)
    found = np.full(int(visits.knee.max(initial=-1)) + 1, NAN)
    empty = (len(courses), len(np.unique(subjects)))
    if len(courses) < 3:
        return Slopes(Estimate(NAN), NAN, NAN, found, *empty, "needs three knees with two visits")
    order = np.concatenate(courses)
    unit = float(np.std(score[order])) or 1.0
    design = np.column_stack([np.ones(len(order)), visits.month[order] / 12])
    which = np.repeat(np.arange(len(courses)), [len(rows) for rows in courses])
    longest = max(map(len, courses))
    fitted = _fit(score[order] / unit, design, which, slopes=longest > 2)
    if fitted is None:
        return Slopes(Estimate(NAN), NAN, NAN, found, *empty, "the mixed model cannot be fitted")
    between, residual, note = fitted
    precision, moment = np.empty((len(courses), 2, 2)), np.empty((len(courses), 2))
    for knee, rows in enumerate(np.split(np.arange(len(order)), np.flatnonzero(np.diff(which)) + 1)):
        x = design[rows]
        weighted = np.linalg.solve(x @ between @ x.T + residual * np.eye(len(rows)), x).T
        precision[knee], moment[knee] = weighted @ x, weighted @ (score[order[rows]] / unit)

    def line(weights: Weights) -> Floats:
        total = np.einsum("rk,kij->rij", weights, precision)
        return np.asarray(np.linalg.solve(total, (weights @ moment)[:, :, None])[:, :, 0])

    (row,) = summarise_values_of([Values("slope", [lambda weights: line(weights)[:, 1]])], subjects)
    fixed = line(np.ones((1, len(courses))))[0]
    found[numbers] = unit * (fixed + (moment - precision @ fixed) @ between)[:, 1]
    return Slopes(
        Estimate(unit * row.value, unit * row.ci_low, unit * row.ci_high),
        unit * float(np.sqrt(between[1, 1])), unit * float(np.sqrt(residual)), found, *empty, note,
    )  # fmt: skip


def _fit(
    y: Floats, design: Floats, which: np.ndarray, *, slopes: bool
) -> tuple[Floats, float, str] | None:  # fmt: skip
    """Covariance of random intercepts and slopes, residual variance, and a note; ``None`` without a fit."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    try:
        with warnings.catch_warnings(record=True) as told, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            random = design if slopes else design[:, :1]
            result = MixedLM(y, design, groups=which, exog_re=random).fit(method=["lbfgs", "powell"])
    except (np.linalg.LinAlgError, ValueError):
        return None
    between, residual = np.zeros((2, 2)), float(result.scale)
    between[: random.shape[1], : random.shape[1]] = result.cov_re
    if not (np.isfinite(between).all() and residual > 0):
        return None
    if not slopes:
        return between, residual, "no knee has three visits, so all knees are given one slope"
    boundary = any("boundary" in str(item.message) or "singular" in str(item.message) for item in told)
    note = "a variance is at its boundary: knees hardly differ in intercept or slope" if boundary else ""
    return between, residual, note if result.converged else "the mixed model has not converged"
