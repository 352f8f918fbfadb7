r"""Measures of many resamples at once, from row weights.

Every function takes ``weights`` of shape ``(resamples, rows)`` (see :mod:`oahier.statistics.intervals`) and
returns float64 ``(resamples,)``, NaN where the measure is undefined. A row of ones gives the measure of the
sample itself. Values equal those of scikit-learn on the copied rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oahier.statistics.intervals import Floats, Weights

Grades = npt.NDArray[np.integer]
Marks = npt.NDArray[np.bool_]


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is zero."""
    safe = np.where(denominator == 0, np.nan, denominator)
    return np.asarray(numerator / safe, dtype=np.float64)


def weighted_sums(weights: Weights, columns: npt.NDArray[np.generic]) -> Floats:
    """Sum over rows of whole-number columns ``(rows, columns)``: ``(resamples, columns)``."""
    return (weights @ columns.astype(weights.dtype)).astype(np.float64)


def weighted_mean(weights: Weights, values: npt.NDArray[np.generic]) -> Floats:
    """Mean of a value of each row.

    >>> weighted_mean(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([0.5, 1.0])).tolist()
    [0.75, 0.5]
    """
    precise = weights.astype(np.float64)
    return ratio(precise @ values.astype(np.float64), precise.sum(axis=1))


def weighted_confusion(weights: Weights, predicted: Grades, labels: Grades, classes: int) -> Floats:
    """Confusion matrices ``(resamples, classes, classes)``; rows are true classes.

    >>> weighted_confusion(np.ones((1, 3)), np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[[1.0, 1.0], [0.0, 1.0]]]
    """
    cells = np.eye(classes**2)[labels * classes + predicted]
    return weighted_sums(weights, cells).reshape(len(weights), classes, classes)


def weighted_qwk(weights: Weights, predicted: Grades, labels: Grades) -> Floats:
    r"""Quadratic weighted kappa of each resample (Cohen 1968, doi:10.1037/h0026256).

    :math:`1 - \sum_{ij} w_{ij} O_{ij} / \sum_{ij} w_{ij} E_{ij}`, :math:`w_{ij} = (i - j)^2`. The observed
    disagreement is a weighted mean of squared differences; the expected one follows from the moments of the
    margins, so no confusion matrix is needed, and a grade missing from a resample changes no weight.

    Args:
        weights: ``(resamples, rows)``.
        predicted: ``(rows,)`` grades that a model decided on.
        labels: ``(rows,)`` grades that were read.

    Returns:
        ``(resamples,)``; NaN where both margins are one and the same grade.
    """
    p, y = predicted.astype(np.int64), labels.astype(np.int64)
    columns = np.stack([np.ones_like(p), p, y, p**2, y**2, (p - y) ** 2], axis=1)
    total, p1, y1, p2, y2, observed = weighted_sums(weights, columns).T
    return 1 - ratio(total * observed, total * (p2 + y2) - 2 * p1 * y1)  # whole numbers up to here: exact


def weighted_macro_f1(confusion: Floats) -> Floats:
    """Mean F1 over the classes that occur in labels or predictions, as scikit-learn's ``average="macro"``.

    Args:
        confusion: ``(resamples, classes, classes)``.
    """
    f1 = weighted_f1(confusion)
    return np.asarray(np.nansum(f1, axis=1) / np.isfinite(f1).sum(axis=1))


def weighted_f1(confusion: Floats) -> Floats:
    """F1 of each class, ``(resamples, classes)``; NaN for a class neither present nor predicted."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return ratio(2 * hits, confusion.sum(axis=1) + confusion.sum(axis=2))


def weighted_macro_error(confusion: Floats) -> Floats:
    """Mean over grades of the mean distance in grades within each; NaN where a grade has no row."""
    grades = np.arange(confusion.shape[1])
    distance = np.abs(grades[:, None] - grades)
    per_grade = ratio((confusion * distance).sum(axis=2), confusion.sum(axis=2))
    return np.asarray(per_grade.mean(axis=1))


def weighted_auc(weights: Weights, scores: npt.NDArray[np.floating], positive: Marks) -> Floats:
    """Area under the ROC curve of each resample, ties counted half (Mann-Whitney).

    Pairs are counted in whole and half numbers, so that equal areas are equal to the last bit.

    Returns:
        ``(resamples,)``; NaN where a resample has one class only.
    """
    order, starts = _by_score(scores)
    ordered = weights[:, order]
    positives = ordered * positive[order]
    negatives = _joined(ordered - positives, starts)
    positives = _joined(positives, starts)
    below = np.cumsum(negatives, axis=1)
    below -= negatives / 2
    wins = np.einsum("ij,ij->i", positives, below).astype(np.float64)
    pairs = positives.sum(axis=1, dtype=np.float64) * negatives.sum(axis=1, dtype=np.float64)
    return ratio(wins, pairs)


def weighted_macro_auc(weights: Weights, probabilities: npt.NDArray[np.floating], labels: Grades) -> Floats:
    """Mean over grades of the area of each against the rest; NaN where a grade has no row."""
    areas = [weighted_auc(weights, column, labels == grade) for grade, column in enumerate(probabilities.T)]
    return np.asarray(np.mean(areas, axis=0))


def weighted_average_precision(weights: Weights, scores: npt.NDArray[np.floating], positive: Marks) -> Floats:
    r"""Average precision :math:`\sum_n (R_n - R_{n-1}) P_n` over the distinct scores, without interpolation.

    Returns:
        ``(resamples,)``; NaN where a resample has one class only.
    """
    order, starts = _by_score(-scores)
    ordered = weights[:, order].astype(np.float64)
    found = _joined(ordered * positive[order], starts)
    taken = np.cumsum(_joined(ordered, starts), axis=1)
    precision = np.cumsum(found, axis=1) / np.maximum(taken, 1)
    total = found.sum(axis=1)
    both = (total > 0) & (total < taken[:, -1])
    return np.where(both, ratio(np.einsum("ij,ij->i", found, precision), total), np.nan)


def weighted_spearman(weights: Weights, scores: npt.NDArray[np.floating], labels: Grades) -> Floats:
    """Spearman's rank correlation with ties: Pearson's correlation of the average ranks of each resample.

    Returns:
        ``(resamples,)``; NaN where scores or labels are constant.
    """
    precise = weights.astype(np.float64)
    x, y = _centred_ranks(precise, scores), _centred_ranks(precise, labels)
    shared, spread_x, spread_y = ((precise * u * v).sum(axis=1) for u, v in ((x, y), (x, x), (y, y)))
    return ratio(shared, np.sqrt(spread_x * spread_y))


def _centred_ranks(weights: Floats, values: npt.NDArray[np.generic]) -> Floats:
    """Average rank of each row within each resample, minus the mean rank."""
    order, starts = _by_score(values)
    size = _joined(weights[:, order], starts)
    last = np.cumsum(size, axis=1)
    ranks = last - size / 2 - last[:, -1:] / 2
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    return np.asarray(ranks[:, group])


def _by_score(scores: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The ascending order of rows, and where in it each distinct score starts."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    new = np.append(True, ordered[1:] != ordered[:-1])
    return order, np.flatnonzero(new)


def _joined(ordered: npt.NDArray[np.floating], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
    """Weights of equal scores added up."""
    if len(starts) == ordered.shape[1]:
        return ordered
    return np.asarray(np.add.reduceat(ordered, starts, axis=1))
