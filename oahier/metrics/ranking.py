"""Metrics of order: how well a score ranks the rows. Ties count exactly.

Each takes row weights ``(resamples, rows)`` and :class:`~oahier.metrics.Rows`, and returns ``(resamples,)``,
NaN where it is undefined.
"""

from __future__ import annotations

import numpy as np

from oahier.metrics.rows import Rows
from oahier.metrics.weighted import (
    Floats,
    Weights,
    weighted_auc,
    weighted_average_precision,
    weighted_spearman,
)

SEVERE_FROM_GRADE = 3
"""KL 3 (moderate) and above, the finding that most readers agree on."""


def auc(weights: Weights, rows: Rows) -> Floats:
    """Area under the ROC curve of P(class 1); NaN when a class is absent."""
    return weighted_auc(weights, rows.ranked[1], rows.positive)


def average_precision(weights: Weights, rows: Rows) -> Floats:
    """Average precision of P(class 1); NaN when a class is absent."""
    return weighted_average_precision(weights, rows.ranked[1], rows.positive)


def macro_auc(weights: Weights, rows: Rows) -> Floats:
    """Mean over classes of the area of each against the rest; NaN when a class has no row."""
    areas = [weighted_auc(weights, ranked, rows.labels == k) for k, ranked in enumerate(rows.ranked)]
    return np.asarray(np.mean(areas, axis=0))


def severe_auc(weights: Weights, rows: Rows) -> Floats:
    """Area under the ROC curve of severity for grade 3 and more; NaN when either side is empty."""
    return weighted_auc(weights, rows.ranked_severity, rows.labels >= SEVERE_FROM_GRADE)


def spearman(weights: Weights, rows: Rows) -> Floats:
    """Spearman's correlation of severity with the label; NaN when either is constant."""
    return weighted_spearman(weights, rows.ranked_severity, rows.labels)
