"""The headline figures of a prediction table, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oahier.statistics.intervals import TIE, Floats, Interval, percentile_interval, subject_weights
from oahier.statistics.weighted import weighted_auc, weighted_macro_auc, weighted_mean, weighted_qwk

SEVERE_FROM_GRADE = 3
"""KL 3 (moderate) and above: the finding that most readers agree on."""


def ordinal_intervals(
    subjects: Sequence[str],
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % intervals of ``qwk``, ``accuracy``, ``mae``, ``macro_auc`` and ``severe_auc``.

    Args:
        subjects: ``(rows,)`` subject of each knee, the unit that is resampled.
        probabilities: ``(rows, grades)``.
        labels: ``(rows,)`` known grades.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        Intervals by name, NaN where resampling has no spread; ``severe_auc`` ranks by expected grade and asks
        for KL >= 3.
    """
    weights = subject_weights(subjects, resamples, seed)
    labels = labels.astype(np.int64)
    p = probabilities.astype(np.float64)
    predicted = p.argmax(axis=1)
    severity = p @ np.arange(p.shape[1])
    values: dict[str, Floats] = {
        "qwk": weighted_qwk(weights, predicted, labels),
        "accuracy": weighted_mean(weights, predicted == labels),
        "mae": weighted_mean(weights, np.abs(predicted - labels)),
        "macro_auc": weighted_macro_auc(weights, p, labels),
        "severe_auc": weighted_auc(weights, severity, labels >= SEVERE_FROM_GRADE),
    }
    return {name: _interval(name, value, subjects) for name, value in values.items()}


def binary_intervals(
    subjects: Sequence[str],
    probability: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % intervals of ``auc``, ``accuracy`` and ``brier``, resampling subjects; NaN without spread.

    Args:
        subjects: ``(rows,)``.
        probability: ``(rows,)`` of the positive class.
        labels: ``(rows,)`` 0 or 1.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    weights = subject_weights(subjects, resamples, seed)
    p, positive = probability.astype(np.float64), labels.astype(bool)
    values = {
        "auc": weighted_auc(weights, p, positive),
        "accuracy": weighted_mean(weights, (p >= 0.5) == positive),
        "brier": weighted_mean(weights, (p - positive) ** 2),
    }
    return {name: _interval(name, value, subjects) for name, value in values.items()}


def _interval(name: str, values: Floats, subjects: Sequence[str]) -> Interval:
    """Percentiles of the resamples, which say nothing where all resamples are the same.

    Where every subject is right, or none is, an accuracy has the exact interval of as many subjects
    (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404); any other measure without spread has none (NaN).
    """
    found = percentile_interval(values)
    defined = values[np.isfinite(values)]
    if len(defined) == 0 or np.ptp(defined) > TIE:
        return found
    farthest = 0.025 ** (1 / len(set(subjects)))
    if name == "accuracy" and defined[0] > 1 - TIE:
        return Interval(farthest, 1.0, found.undefined)
    if name == "accuracy" and defined[0] < TIE:
        return Interval(0.0, 1 - farthest, found.undefined)
    return Interval(float("nan"), float("nan"), found.undefined)
