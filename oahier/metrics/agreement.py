"""Metrics of decisions: how often, and how far, the predicted class is not the label.

Each takes row weights ``(resamples, rows)`` and :class:`~oahier.metrics.Rows`, and returns ``(resamples,)``,
NaN where it is undefined. Wherever scikit-learn defines a value without a warning, with
``labels=range(classes)``, it is the same one.
"""

from __future__ import annotations

import numpy as np

from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Weights, ratio, weighted_mean, weighted_qwk


def accuracy(weights: Weights, rows: Rows) -> Floats:
    """Share of rows whose class is predicted right."""
    return weighted_mean(weights, rows.correct)


def accuracy_within_one(weights: Weights, rows: Rows) -> Floats:
    """Share of rows whose prediction is off by one class at most."""
    return weighted_mean(weights, rows.distance <= 1)


def mean_absolute_error(weights: Weights, rows: Rows) -> Floats:
    """Mean distance in classes between prediction and label."""
    return weighted_mean(weights, rows.distance)


def macro_mean_absolute_error(weights: Weights, rows: Rows) -> Floats:
    """Mean over classes of the error within each (Baccianella et al. 2009, doi:10.1109/ISDA.2009.230).

    NaN when some class has no row: its error is unknown, and a mean over the others would not be comparable
    between sets.
    """
    counts = rows.confusion.counts(weights)
    per_class = ratio((counts * _distances(rows.classes)).sum(axis=2), counts.sum(axis=2))
    return np.asarray(per_class.mean(axis=1))


def quadratic_weighted_kappa(weights: Weights, rows: Rows) -> Floats:
    """Quadratic weighted kappa; see :func:`~oahier.metrics.weighted.weighted_qwk`.

    NaN where label and prediction are one and the same single class.
    """
    return weighted_qwk(weights, rows.predicted, rows.labels)


def linear_weighted_kappa(weights: Weights, rows: Rows) -> Floats:
    r"""Kappa with weights :math:`w_{ij} = |i - j|` (Cohen 1968, doi:10.1037/h0026256).

    NaN where label and prediction are one and the same single class.
    """
    counts, distance = rows.confusion.counts(weights), _distances(rows.classes)
    expected = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None, :]
    observed = counts * counts.sum(axis=(1, 2), keepdims=True)
    return 1 - ratio((observed * distance).sum(axis=(1, 2)), (expected * distance).sum(axis=(1, 2)))


def f1(weights: Weights, rows: Rows) -> Floats:
    r""":math:`2 TP / (2 TP + FP + FN)` of class 1; NaN where it is neither present nor predicted."""
    return _f1_per_class(weights, rows)[:, 1]


def macro_f1(weights: Weights, rows: Rows) -> Floats:
    """Mean F1 over the classes that occur in labels or predictions, as scikit-learn's ``average="macro"``.

    A class that neither occurs nor is predicted has no F1 and is left out of the mean.
    """
    per_class = _f1_per_class(weights, rows)
    occurs = np.isfinite(per_class)
    return ratio(np.where(occurs, per_class, 0.0).sum(axis=1), occurs.sum(axis=1).astype(np.float64))


def sensitivity(weights: Weights, rows: Rows) -> Floats:
    """Share of positive rows (class 1) that are found; NaN without positive rows."""
    counts = rows.confusion.counts(weights)[:, 1]
    return ratio(counts[:, 1], counts.sum(axis=1))


def specificity(weights: Weights, rows: Rows) -> Floats:
    """Share of negative rows (class 0) that are left alone; NaN without negative rows."""
    counts = rows.confusion.counts(weights)[:, 0]
    return ratio(counts[:, 0], counts.sum(axis=1))


def _f1_per_class(weights: Weights, rows: Rows) -> Floats:
    counts = rows.confusion.counts(weights)
    hits = np.diagonal(counts, axis1=1, axis2=2)
    return ratio(2 * hits, counts.sum(axis=1) + counts.sum(axis=2))


def _distances(classes: int) -> Floats:
    grades = np.arange(classes, dtype=np.float64)
    return np.abs(grades[:, None] - grades)
