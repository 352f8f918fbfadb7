"""Calibration of probabilities: intercept and slope, and the integrated calibration index."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from oahier.clinical.events import Event
from oahier.metrics.weighted import Floats, Marks
from oahier.statistics.intervals import percentile_interval

LEAST = 1e-9
"""Probabilities are taken as from this to 1 less this before a logit."""
SPAN = 0.75
"""Share of the knees in each window of the smooth curve, as R's ``loess`` has it."""
_FEW_VALUES = 10
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN where it is undefined."""

    value: float
    low: float = NAN
    high: float = NAN


@dataclass(frozen=True)
class Calibration:
    """Agreement of the probabilities of an event with how often it happens."""

    expected: float
    """Mean probability."""
    observed: Estimate
    """Share of knees with the event."""
    intercept: Estimate
    """On the logit scale with the slope fixed at 1; 0 where the mean is right, below where it is too high."""
    slope: Estimate
    """1 where the spread is right, below where probabilities are too extreme."""
    index: Estimate
    """Integrated calibration index: mean distance from the smooth curve."""
    note: str = ""
    """Why something is undefined."""


def calibration(event: Event, *, resamples: int = 500, seed: int = 0) -> Calibration:
    r"""Intercept, slope and integrated calibration index of an event's probabilities.

    Logistic models :math:`\text{logit} P(y) = a + \text{logit}\,p` and :math:`a + b\,\text{logit}\,p`
    (Cox 1958, doi:10.1093/biomet/45.3-4.562; Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7) by
    statsmodels, with errors robust to subjects with several knees. The index is the mean distance of *p* from
    a local linear curve (Austin & Steyerberg 2019, doi:10.1002/sim.8281), with the percentile interval of
    resampled subjects; it is above 0 also where calibration is perfect, so its interval is no test.

    Args:
        event: labelled knees.
        resamples: of the index; 0 gives no interval.
        seed: of the resampling.

    Returns:
        NaN with a note where a class is absent, all probabilities are equal, or they separate the classes.

    >>> p = np.array([0.2, 0.4, 0.6, 0.8] * 50)
    >>> y = np.arange(200) // 4 < 50 * p
    >>> found = calibration(Event.of(p, y), resamples=0)
    >>> abs(round(found.intercept.value, 6)), round(found.slope.value, 6), round(found.index.value, 6)
    (0.0, 1.0, 0.0)
    """
    nothing = Estimate(NAN)
    if not event.defined:
        share = float(event.happened.mean()) if len(event) else NAN
        why = "needs knees with and without the event, and finite probabilities"
        mean = float(event.probability.mean()) if len(event) else NAN
        return Calibration(mean, Estimate(share), nothing, nothing, nothing, why)
    logits = _logit(event.probability)
    y = event.happened.astype(np.float64)
    ones = np.ones((len(event), 1))
    intercept = _fit(y, ones, event.subject, offset=logits)[0]
    slope, note = nothing, ""
    if np.ptp(logits) < 1e-9:
        note = "all probabilities are equal: no slope"
    elif _separated(event.probability, event.happened):
        note = "the probabilities separate the classes: no slope"
    else:
        slope = _fit(y, np.column_stack([ones, logits]), event.subject)[1]
    index = Estimate(calibration_index(event.probability, event.happened))
    weights = event.resampled(resamples, seed)
    if weights is not None:
        drawn = np.array([_resampled_index(event, row) for row in weights.astype(np.int64)])
        found = percentile_interval(drawn)
        index = Estimate(index.value, found.low, found.high)
    return Calibration(
        float(event.probability.mean()), _share(event), intercept, slope, index, note
    )  # fmt: skip


def calibration_index(probability: Floats, happened: Marks) -> float:
    """Mean distance between probabilities and the smooth curve of how often the event happens.

    The curve is statsmodels' ``lowess`` without robustness steps, or the shares themselves where there are
    ten different probabilities or fewer.
    """
    return float(np.abs(probability - smooth_curve(probability, happened, probability)).mean())


def smooth_curve(probability: Floats, happened: Marks, at: Floats) -> Floats:
    """How often the event happens at probabilities ``at``, from 0 to 1."""
    y = happened.astype(np.float64)
    values, index = np.unique(probability, return_inverse=True)
    if len(values) <= _FEW_VALUES:
        shares = np.bincount(index, y) / np.bincount(index)
        return np.asarray(np.interp(at, values, shares))
    from statsmodels.nonparametric.smoothers_lowess import lowess

    spread = float(np.ptp(probability))
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = lowess(y, probability, frac=SPAN, it=0, delta=0.01 * spread, return_sorted=True)
    known = np.isfinite(curve[:, 1])
    if not known.any():
        return np.full(len(at), float(y.mean()))
    return np.asarray(np.clip(np.interp(at, curve[known, 0], curve[known, 1]), 0, 1))


def _resampled_index(event: Event, counts: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    rows = np.repeat(np.arange(len(counts)), counts)
    return calibration_index(event.probability[rows], event.happened[rows])


def _share(event: Event) -> Estimate:
    """Share of knees with the event; the logit interval with subjects as units."""
    found = _fit(event.happened.astype(np.float64), np.ones((len(event), 1)), event.subject)[0]
    back: Callable[[float], float] = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    return Estimate(float(event.happened.mean()), back(found.low), back(found.high))


def _logit(probability: Floats) -> Floats:
    p = np.clip(probability, LEAST, 1 - LEAST)
    return np.asarray(np.log(p) - np.log1p(-p))


def _separated(probability: Floats, happened: Marks) -> bool:
    yes, no = probability[happened], probability[~happened]
    return bool(yes.min() >= no.max() or no.min() >= yes.max())


def _fit(y: Floats, design: Floats, subjects: Any, offset: Floats | None = None) -> list[Estimate]:
    """Coefficients of a logistic model with intervals robust to clusters."""
    result = logistic(y, design, subjects, offset)
    if result is None:
        return [Estimate(NAN)] * design.shape[1]
    low, high = result.conf_int().T
    return [Estimate(float(a), float(b), float(c)) for a, b, c in zip(result.params, low, high, strict=True)]


def logistic(y: Floats, design: Floats, subjects: Any, offset: Floats | None = None) -> Any:
    """A fitted logistic model of statsmodels with cluster-robust errors; ``None`` where there is none."""
    import warnings

    import statsmodels.api as sm
    from numpy.linalg import LinAlgError
    from statsmodels.tools.sm_exceptions import PerfectSeparationError

    names, groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    if len(names) < 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = sm.GLM(y, design, family=sm.families.Binomial(), offset=offset).fit(
                cov_type="cluster", cov_kwds={"groups": groups}
            )
    except (PerfectSeparationError, LinAlgError, ValueError):
        return None
    return result if bool(result.converged) and np.isfinite(result.bse).all() else None
