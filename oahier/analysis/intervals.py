r"""Confidence intervals of headline figures, by resampling subjects.

Two knees of one subject are not independent, so subjects are drawn, not knees (cluster bootstrap; Field
& Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). Instead of copying rows, every resample is a vector
of row weights, so all resamples of a measure are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A percentile interval and how many resamples had no defined value."""

    low: float
    high: float
    undefined: int


def subject_weights(subjects: Sequence[str], resamples: int, seed: int) -> Floats:
    """Row weights ``(resamples, rows)``: how often each row's subject was drawn.

    Raises:
        ValueError: no rows, or fewer than one resample.

    >>> subject_weights(["a", "a", "b"], resamples=2, seed=0).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    if len(subjects) == 0 or resamples < 1:
        raise ValueError(f"expected at least one row and one resample, got {len(subjects)} and {resamples}")
    names, index = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, index].astype(np.float64)


def weighted_qwk(
    weights: Floats, predicted: npt.NDArray[np.integer], labels: npt.NDArray[np.integer]
) -> Floats:
    r"""Quadratic weighted kappa of each resample (Cohen 1968, doi:10.1037/h0026256).

    :math:`1 - \sum_{ij} w_{ij} O_{ij} / \sum_{ij} w_{ij} E_{ij}`, :math:`w_{ij} = (i - j)^2`. The observed
    disagreement is a weighted mean of squared differences; the expected one follows from the moments of the
    margins, so no confusion matrix is needed.

    Args:
        weights: ``(resamples, rows)``.
        predicted: ``(rows,)`` grades that a model decided on.
        labels: ``(rows,)`` grades that were read.

    Returns:
        ``(resamples,)``; NaN where both margins are one and the same grade.
    """
    p, y = predicted.astype(np.float64), labels.astype(np.float64)
    columns = np.stack([np.ones_like(p), p, y, p**2, y**2, (p - y) ** 2], axis=1)
    total, p1, y1, p2, y2, observed = (weights @ columns).T
    expected = p2 + y2 - 2 * p1 * y1 / np.where(total > 0, total, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 1e-12, 1 - observed / expected, np.nan)


def weighted_auc(weights: Floats, scores: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """Area under the ROC curve of each resample, ties counted half (Mann-Whitney).

    Returns:
        ``(resamples,)``; NaN where a resample has one class only.
    """
    _, rank = np.unique(scores, return_inverse=True)
    onto_ranks = np.zeros((len(scores), rank.max() + 1))
    onto_ranks[np.arange(len(scores)), rank] = 1.0
    positives = (weights * positive) @ onto_ranks
    negatives = (weights * ~positive) @ onto_ranks
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, wins / pairs, np.nan)


def percentile_interval(values: Floats, level: float = 0.95) -> Interval:
    """The central ``level`` of the defined values.

    >>> percentile_interval(np.append(np.arange(5.0), np.nan), level=0.5)
    Interval(low=1.0, high=3.0, undefined=1)
    """
    defined = values[np.isfinite(values)]
    undefined = len(values) - len(defined)
    if len(defined) == 0:
        return Interval(float("nan"), float("nan"), undefined)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), undefined)
