"""Sensitivity at a fixed specificity, with the threshold that reaches it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oahier.clinical.calibration import NAN, Estimate
from oahier.clinical.events import Event
from oahier.metrics.weighted import Floats, Weights
from oahier.statistics.intervals import percentile_interval


@dataclass(frozen=True)
class OperatingPoint:
    """Where the specificity is at least the wanted one, and the sensitivity is the largest."""

    specificity: float
    """Reached on these knees."""
    sensitivity: Estimate
    threshold: float
    """Lowest probability that counts as positive; infinite where nothing does."""


def sensitivity_at(
    event: Event, specificity: float = 0.9, *, resamples: int = 2000, seed: int = 0
) -> OperatingPoint:
    """The sensitivity at a specificity of at least ``specificity``.

    The threshold is found on the knees themselves, and again in every resample of subjects, so that the
    percentile interval covers that choice too. On a test set it describes the ROC curve; a threshold to use
    is chosen on validation knees (:class:`~oahier.clinical.FixedSpecificity`).

    Args:
        event: labelled knees.
        specificity: above 0, at most 1.
        resamples: 0 gives no interval.
        seed: of the resampling.

    Raises:
        ValueError: a specificity out of range.

    >>> point = sensitivity_at(Event.of([0.1, 0.2, 0.7, 0.6, 0.9], [0, 0, 0, 1, 1]), 0.9, resamples=0)
    >>> point.sensitivity.value, point.threshold
    (0.5, 0.9)
    """
    if not 0 < specificity <= 1:
        raise ValueError(f"specificity: expected a share above 0, at most 1, got {specificity}")
    if not event.defined:
        return OperatingPoint(NAN, Estimate(NAN), NAN)
    levels, index = np.unique(event.probability, return_inverse=True)
    value, at = _best(np.ones((1, len(event))), event, index, len(levels), specificity)
    interval = Estimate(float(value[0]))
    weights = event.resampled(resamples, seed)
    if weights is not None:
        drawn, _ = _best(weights.astype(np.float64), event, index, len(levels), specificity)
        found = percentile_interval(drawn)
        interval = Estimate(interval.value, found.low, found.high)
    threshold = float(levels[at[0]]) if at[0] < len(levels) else float("inf")
    reached = float((event.probability[~event.happened] < threshold).mean())
    return OperatingPoint(reached, interval, threshold)


def _best(
    weights: Weights, event: Event, index: np.ndarray, levels: int, specificity: float
) -> tuple[Floats, np.ndarray]:
    """Sensitivity of each row of weights, and the index of its threshold among the levels."""
    below = []
    for chosen in (event.happened, ~event.happened):
        to_level = np.zeros((int(chosen.sum()), levels))
        to_level[np.arange(len(to_level)), index[chosen]] = 1
        counts = (weights[:, chosen] @ to_level).cumsum(axis=1)
        below.append(np.concatenate([np.zeros((len(weights), 1)), counts], axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        missed, spared = (counts / counts[:, -1:] for counts in below)
    at = (spared >= specificity - 1e-12).argmax(axis=1)
    found = 1 - missed[np.arange(len(weights)), at]
    return np.where(np.isfinite(spared[:, -1]), found, np.nan), at
