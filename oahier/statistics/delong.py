"""DeLong's test of areas under ROC curves of the same knees, in O(n log n)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats
from oahier.statistics.sign_flips import smallest_p


@dataclass(frozen=True)
class DeLongPair:
    """Two areas compared; ``difference`` is the second minus the first."""

    difference: float
    ci_low: float
    ci_high: float
    z: float
    p_value: float


@dataclass(frozen=True, eq=False)
class DeLongResult:
    """Areas of all models with one covariance."""

    auc: Floats
    """``(models,)``."""
    covariance: Floats
    """``(models, models)`` of the areas."""
    rows: int
    """Independent units: rows, or subjects where these are clusters."""

    def interval(self, model: int, level: float = 0.95) -> tuple[float, float]:
        """Normal interval of one area, cut to [0, 1]; NaN for an area without variance."""
        reach = _quantile(level) * float(np.sqrt(self.covariance[model, model]))
        area = float(self.auc[model])
        if not reach > 0:
            return float("nan"), float("nan")
        return max(0.0, area - reach), min(1.0, area + reach)

    def compare(self, a: int, b: int, level: float = 0.95) -> DeLongPair:
        """Two-sided test of equal areas and the interval of ``auc[b] - auc[a]``.

        Areas whose difference has no variance give Z = 0 and p = 1 where they are equal (as with identical
        scores). Where they differ (as two perfect and reversed rankings), Z is infinite, the interval is
        undefined and p is the smallest that as many unanimous rows allow.
        """
        from scipy.stats import norm

        difference = float(self.auc[b] - self.auc[a])
        covariance = self.covariance
        variance = float(covariance[a, a] + covariance[b, b] - 2 * covariance[a, b])
        if not np.isfinite(variance):
            nan = float("nan")
            return DeLongPair(difference, nan, nan, nan, nan)
        scale = float(covariance[a, a] + covariance[b, b])
        error = float(np.sqrt(variance)) if variance > 1e-12 * scale else 0.0
        if error == 0:
            equal = abs(difference) < 1e-12
            z = 0.0 if equal else float(np.copysign(np.inf, difference))
            end = difference if equal else float("nan")
            return DeLongPair(difference, end, end, z, 1.0 if equal else smallest_p(self.rows))
        z, reach = difference / error, _quantile(level) * error
        p = max(2 * float(norm.sf(abs(z))), smallest_p(self.rows))
        return DeLongPair(difference, difference - reach, difference + reach, z, p)

    def p_values(self) -> Floats:
        """``(models, models)`` p values of all pairs."""
        count = len(self.auc)
        return np.array([[self.compare(a, b).p_value for b in range(count)] for a in range(count)])


def delong(labels: npt.ArrayLike, scores: Sequence[npt.ArrayLike] | npt.NDArray[np.floating]) -> DeLongResult:
    r"""Areas under the ROC curve of several models and their covariance (DeLong et al. 1988).

    The structural components :math:`V_{10}(x_i)` (share of negatives below positive *i*, ties half) and
    :math:`V_{01}(y_j)` follow from midranks among all rows and within each class, so that sorting is all the
    work (Sun & Xu 2014, doi:10.1109/LSP.2014.2337313). With *m* positives and *n* negatives the covariance is
    :math:`S_{10}/m + S_{01}/n` (DeLong, DeLong & Clarke-Pearson 1988, doi:10.2307/2531595).

    Args:
        labels: ``(rows,)`` 0 or 1 (or booleans); rows are independent.
        scores: one ``(rows,)`` array a model, larger for 1; float64 throughout.

    Returns:
        Areas and covariance; NaN where a class is absent, and NaN covariances where it has one row.

    Raises:
        ValueError: other labels, shapes that do not fit, or a score that is not finite.

    >>> result = delong([0, 0, 1, 1, 1], [[0.1, 0.4, 0.35, 0.8, 0.9], [0.1, 0.4, 0.35, 0.8, 0.9]])
    >>> round(float(result.auc[0]), 4), result.compare(0, 1).z, result.compare(0, 1).p_value
    (0.8333, 0.0, 1.0)
    """
    positive, table = checked_scores(labels, scores)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return DeLongResult(np.full(len(table), np.nan), np.full((len(table), len(table)), np.nan), m + n)
    parts = [structural_components(row, positive) for row in table]
    v10, v01 = (np.stack([part[side] for part in parts]) for side in (0, 1))
    covariance = _covariance(v10) / m + _covariance(v01) / n
    return DeLongResult(v10.mean(axis=1), covariance, m + n)


def checked_scores(
    labels: npt.ArrayLike, scores: Sequence[npt.ArrayLike] | npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Marks ``(rows,)`` of the upper class, and scores ``(models, rows)``.

    Raises:
        ValueError: other labels, shapes that do not fit, or a score that is not finite.
    """
    table, positive = np.atleast_2d(np.asarray(scores, dtype=np.float64)), np.asarray(labels)
    if positive.ndim != 1 or table.ndim != 2 or table.shape[1] != len(positive):
        raise ValueError(f"scores: expected shape (models, {positive.size}), got {table.shape}")
    if not np.isin(positive, (0, 1)).all():
        raise ValueError(f"labels: expected 0 and 1, got {np.unique(positive)[:5].tolist()}")
    if not np.isfinite(table).all():
        raise ValueError("scores: expected finite numbers, got NaN or infinity")
    return positive.astype(bool), table


def structural_components(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative, ties half.

    Args:
        scores: ``(rows,)``.
        positive: ``(rows,)``, True for rows of the upper class.
    """
    positives, negatives = scores[positive], scores[~positive]
    to_positive, to_negative = np.argsort(positives), np.argsort(negatives)
    above, below = positives[to_positive], negatives[to_negative]
    v10, v01 = np.empty(len(above)), np.empty(len(below))
    v10[to_positive] = _share_below(above, below)
    v01[to_negative] = 1 - _share_below(below, above)
    return v10, v01


def _share_below(values: Floats, others: Floats) -> Floats:
    """Share of ``others`` below each value, ties half; both sorted, so that the search is local."""
    left, right = np.searchsorted(others, values, "left"), np.searchsorted(others, values, "right")
    return np.asarray((left + right) / (2 * len(others)))


def _covariance(components: Floats) -> Floats:
    rows = components.shape[1]
    if rows < 2:
        return np.full((len(components), len(components)), np.nan)
    centred = components - components.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (rows - 1))


def _quantile(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + level) / 2))
