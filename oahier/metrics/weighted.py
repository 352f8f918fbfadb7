r"""Means, confusion matrices, areas and rank correlations of many resamples at once, from row weights.

Every function takes ``weights`` of shape ``(resamples, rows)``: how often each row is in each resample (see
:mod:`oahier.statistics.intervals`). A row of ones gives the value of the sample itself. Results are float64
``(resamples,)``, NaN where the value is undefined, and equal those of scikit-learn on the copied rows.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]
Names = npt.NDArray[np.character]
Weights = npt.NDArray[np.floating]
"""Row weights ``(resamples, rows)``: how often each row is in each resample."""

_FEW = 8
"""Up to this many resamples are counted one by one, which needs no table of ``(rows, classes ** 2)``."""
_GRADES = 32
"""Up to this many grades are counted in pairs."""


class Confusion:
    """Confusion matrices of one model's decisions, for any row weights.

    Args:
        predicted: ``(rows,)`` predicted classes.
        labels: ``(rows,)`` true classes.
        classes: number of classes, present or not.

    >>> Confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).counts(np.ones((1, 3))).tolist()
    [[[1.0, 1.0], [0.0, 1.0]]]
    """

    def __init__(self, predicted: Classes, labels: Classes, classes: int) -> None:
        self._cell = labels * classes + predicted
        self._classes = classes

    def counts(self, weights: Weights) -> Floats:
        """``(resamples, classes, classes)``; rows are true classes, columns predicted ones."""
        shape = (len(weights), self._classes, self._classes)
        if len(weights) <= _FEW:
            cells = self._classes**2
            found = [np.bincount(self._cell, row, minlength=cells) for row in weights]
            return np.stack(found).astype(np.float64).reshape(shape)
        return weighted_sums(weights, self._indicator).reshape(shape)

    @property
    def sample(self) -> Classes:
        """``(classes, classes)`` counts of the sample itself."""
        counts = np.bincount(self._cell, minlength=self._classes**2)
        return counts.reshape(self._classes, self._classes)

    @cached_property
    def _indicator(self) -> npt.NDArray[np.float32]:
        return np.asarray(np.eye(self._classes**2, dtype=np.float32)[self._cell])


class Ranked:
    """Rows in ascending order of a score, sorted once for any number of resamples.

    Args:
        scores: ``(rows,)``.
    """

    def __init__(self, scores: npt.NDArray[np.generic]) -> None:
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        """Where in the order each distinct score starts."""

    def sums(self, ordered: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Sums over equal scores of ``(resamples, rows)`` values in ascending order."""
        if len(self.starts) == ordered.shape[1]:
            return ordered
        return np.asarray(np.add.reduceat(ordered, self.starts, axis=1))

    def centred_ranks(self, weights: Floats) -> Floats:
        """Average rank of each row within each resample, minus the mean rank."""
        size = self.sums(weights[:, self.order])
        last = np.cumsum(size, axis=1)
        ranks = last - size / 2 - last[:, -1:] / 2
        group = np.empty(len(self.order), dtype=np.int64)
        group[self.order] = np.repeat(
            np.arange(len(self.starts)), np.diff(np.append(self.starts, len(group)))
        )
        return np.asarray(ranks[:, group])


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is zero."""
    safe = np.where(denominator == 0, np.nan, denominator)
    return np.asarray(numerator / safe, dtype=np.float64)


def weighted_sums(weights: Weights, columns: npt.NDArray[np.generic]) -> Floats:
    """Sum over rows of whole-number columns ``(rows, columns)``: ``(resamples, columns)``."""
    return (weights @ columns.astype(weights.dtype, copy=False)).astype(np.float64)


def weighted_mean(weights: Weights, values: npt.NDArray[np.generic]) -> Floats:
    """Mean of a value of each row.

    >>> weighted_mean(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([0.5, 1.0])).tolist()
    [0.75, 0.5]
    """
    precise = weights.astype(np.float64)
    return ratio(precise @ values.astype(np.float64), precise.sum(axis=1))


def weighted_qwk(
    weights: Weights, predicted: npt.NDArray[np.integer], labels: npt.NDArray[np.integer]
) -> Floats:
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
    if len(weights) <= _FEW and len(p):
        weights, p, y = _by_pair(weights, p, y)
    columns = np.stack([np.ones_like(p), p, y, p**2, y**2, (p - y) ** 2], axis=1)
    total, p1, y1, p2, y2, observed = weighted_sums(weights, columns).T
    return 1 - ratio(total * observed, total * (p2 + y2) - 2 * p1 * y1)  # whole numbers up to here: exact


def _by_pair(weights: Weights, p: Classes, y: Classes) -> tuple[Weights, Classes, Classes]:
    """All rows of one pair of grades made one row; as they are where there are too many pairs."""
    least, most = min(p.min(), y.min()), max(p.max(), y.max())
    size = int(most - least) + 1
    if size > _GRADES:
        return weights, p, y
    pair = (y - least) * size + p - least
    summed = np.stack([np.bincount(pair, row, minlength=size**2) for row in weights]).astype(np.float64)
    grid = np.arange(size**2)
    return summed, grid % size + least, grid // size + least


def weighted_auc(weights: Weights, scores: npt.NDArray[np.floating] | Ranked, positive: Marks) -> Floats:
    """Area under the ROC curve of each resample, ties counted half.

    The chance that a positive row scores above a negative one (Mann-Whitney form; Hanley & McNeil 1982,
    doi:10.1148/radiology.143.1.7063747). Pairs are counted in whole and half numbers, so that equal areas are
    equal to the last bit.

    Args:
        weights: ``(resamples, rows)``.
        scores: ``(rows,)``, larger for positive rows.
        positive: ``(rows,)``.

    Returns:
        ``(resamples,)``; NaN where a resample has one class only.

    >>> scores = np.array([0.1, 0.4, 0.35, 0.8])
    >>> weighted_auc(np.ones((1, 4)), scores, np.array([False, False, True, True])).tolist()
    [0.75]
    """
    ranked = scores if isinstance(scores, Ranked) else Ranked(scores)
    marks = np.asarray(positive[ranked.order], dtype=np.bool_)
    positives = np.take(weights, ranked.order[marks], axis=1)
    negatives = np.take(weights, ranked.order[~marks], axis=1)
    below = np.zeros((len(weights), negatives.shape[1] + 1), dtype=negatives.dtype)
    np.cumsum(negatives, axis=1, out=below[:, 1:])
    wins = np.einsum("ij,ij->i", positives, _beaten(below, ranked, marks)).astype(np.float64)
    pairs = positives.sum(axis=1, dtype=np.float64) * below[:, -1].astype(np.float64)
    return ratio(wins, pairs)


def _beaten(below: npt.NDArray[np.floating], ranked: Ranked, marks: Marks) -> npt.NDArray[np.floating]:
    """Weight of the negatives below each positive, from sums of it in order; equal scores count half."""
    passed = np.cumsum(~marks)
    if len(ranked.starts) == len(marks):
        return np.asarray(np.take(below, passed[marks], axis=1))
    last = np.append(ranked.starts[1:], len(marks)) - 1
    most = passed[last]
    least, positives = np.append(0, most[:-1]), np.diff(last - most, prepend=-1)
    beaten = np.take(below, np.repeat(least, positives), axis=1)
    beaten += np.take(below, np.repeat(most, positives), axis=1)
    return np.asarray(beaten / 2)


def weighted_average_precision(
    weights: Weights, scores: npt.NDArray[np.floating] | Ranked, positive: Marks
) -> Floats:
    r"""Average precision :math:`\sum_n (R_n - R_{n-1}) P_n` over the distinct scores, without interpolation.

    Returns:
        ``(resamples,)``; NaN where a resample has one class only: without negatives every ranking
        is perfect.

    >>> scores = np.array([0.1, 0.4, 0.35, 0.8])
    >>> weighted_average_precision(np.ones((1, 4)), scores, np.array([0, 0, 1, 1]) == 1).round(4).tolist()
    [0.8333]
    """
    ranked = scores if isinstance(scores, Ranked) else Ranked(scores)
    ordered = weights[:, ranked.order].astype(np.float64)
    found = ranked.sums(ordered * positive[ranked.order])[:, ::-1]
    taken = np.cumsum(ranked.sums(ordered)[:, ::-1], axis=1)
    precision = np.cumsum(found, axis=1) / np.maximum(taken, 1)
    total = found.sum(axis=1)
    both = (total > 0) & (total < taken[:, -1])
    return np.where(both, ratio(np.einsum("ij,ij->i", found, precision), total), np.nan)


def weighted_spearman(
    weights: Weights,
    scores: npt.NDArray[np.floating] | Ranked,
    labels: npt.NDArray[np.generic] | Ranked,
) -> Floats:
    """Spearman's rank correlation with ties: Pearson's correlation of the average ranks of each resample.

    Returns:
        ``(resamples,)``; NaN where scores or labels are constant.

    >>> weighted_spearman(np.ones((1, 3)), np.array([0.2, 1.1, 0.9]), np.array([0, 1, 2])).tolist()
    [0.5]
    """
    precise = weights.astype(np.float64)
    sides = (side if isinstance(side, Ranked) else Ranked(side) for side in (scores, labels))
    x, y = (side.centred_ranks(precise) for side in sides)
    shared, spread_x, spread_y = ((precise * u * v).sum(axis=1) for u, v in ((x, y), (x, x), (y, y)))
    return ratio(shared, np.sqrt(spread_x * spread_y))
