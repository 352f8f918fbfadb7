"""Association of a score with ordered labels, NaN where it is undefined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.metrics.weighted import weighted_auc, weighted_spearman

if TYPE_CHECKING:
    import numpy.typing as npt


def varies(values: npt.NDArray[Any]) -> bool:
    """True if there are two different values and all are finite."""
    return len(values) > 1 and bool(np.isfinite(values).all()) and bool((values != values[0]).any())


def spearman(score: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Spearman's rank correlation; NaN when either side has fewer than two values.

    >>> round(spearman(np.array([0.1, 0.4, 0.3]), np.array([0, 1, 2])), 3)
    0.5
    """
    if not (varies(score) and varies(labels)):
        return float("nan")
    return float(weighted_spearman(np.ones((1, len(score))), score, labels)[0])


def auc(score: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Area under the ROC curve of 0/1 labels; NaN when a class is absent or a score is not finite.

    >>> auc(np.array([0.1, 0.4, 0.3]), np.array([0, 1, 0]))
    1.0
    """
    if not varies(labels) or not np.isfinite(score).all():
        return float("nan")
    return float(weighted_auc(np.ones((1, len(score))), score, labels == 1)[0])


def trend(score: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[float, float]:
    """Jonckheere-Terpstra test of increasing scores over ordered labels.

    Args:
        score: ``(n,)``.
        labels: ``(n,)`` integers; only the labels that occur form groups.

    Returns:
        The tie-corrected z statistic and the one-sided p value (Jonckheere 1954, Biometrika 41:133,
        doi:10.2307/2333011); NaN with fewer than two groups or scores that are all equal.

    >>> z, p = trend(np.array([1, 2, 2, 4, 2, 3, 4, 3, 4, 5, 6.0]), np.array([0] * 4 + [1] * 3 + [2] * 4))
    >>> round(z, 6), round(p, 8)
    (2.216091, 0.01334263)
    """
    from statsmodels.stats.nonparametric import jonckheere_terpstra

    if not (varies(score) and varies(labels)):
        return float("nan"), float("nan")
    result = jonckheere_terpstra([score[labels == label] for label in np.unique(labels)], "larger")
    return float(result.zstat), float(result.pvalue)
