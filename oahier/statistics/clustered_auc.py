"""Areas under ROC curves of rows that come in clusters, such as two knees of one subject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats
from oahier.statistics.delong import DeLongResult, checked_scores, structural_components


def clustered_auc(
    labels: npt.ArrayLike,
    scores: Sequence[npt.ArrayLike] | npt.NDArray[np.floating],
    subjects: npt.ArrayLike,
) -> DeLongResult:
    r"""Areas of several models and their covariance when rows of a subject are dependent (Obuchowski 1997).

    The structural components of DeLong are summed over the rows of a subject and centred by the number of
    its rows; with *M* positives and *N* negatives in :math:`I_{10}` and :math:`I_{01}` of *I* subjects the
    covariance is :math:`S_{10}/M + S_{01}/N + (S_{11} + S_{11}^T)/(M N)`, where

    .. math:: S_{10} = \frac{I_{10}}{(I_{10} - 1) M} \sum_i u_i u_i^T, \quad
              S_{11} = \frac{I}{I - 1} \sum_i u_i v_i^T

    (doi:10.2307/2533958). With one row a subject it is DeLong's.

    Args:
        labels: ``(rows,)`` 0 or 1.
        scores: one ``(rows,)`` array a model, larger for 1.
        subjects: ``(rows,)`` who each row belongs to.

    Returns:
        Areas and covariance; NaN where a class is absent, NaN covariances where it is in one subject only.

    Raises:
        ValueError: other labels, shapes that do not fit, or a score that is not finite.

    >>> one = clustered_auc([0, 1, 0, 1], [[0.1, 0.6, 0.7, 0.9]], ["a", "a", "b", "b"])
    >>> float(one.auc[0])
    0.75
    """
    positive, table = checked_scores(labels, scores)
    names = np.asarray(subjects, dtype=str)
    if names.shape != positive.shape:
        raise ValueError(
            f"labels, scores, subjects: expected (rows,), (models, rows), (rows,), got {positive.shape}, "
            f"{table.shape}, {names.shape}"
        )
    models, m, n = len(table), int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return DeLongResult(np.full(models, np.nan), np.full((models, models), np.nan), len(names))
    distinct, index = np.unique(names, return_inverse=True)
    components = [structural_components(row, positive) for row in table]
    area = np.array([of_positives.mean() for of_positives, _ in components])
    u, v = (
        _sums([pair[side] for pair in components], index[positive == (side == 0)], area, len(distinct))
        for side in (0, 1)
    )
    clusters = [len(np.unique(index[positive == side])) for side in (True, False)]
    parts = [
        _scale(count) * (sums @ sums.T) / rows**2
        for count, sums, rows in zip(clusters, (u, v), (m, n), strict=True)
    ]
    both = _scale(len(distinct)) * (u @ v.T) / (m * n)
    return DeLongResult(area, np.asarray(parts[0] + parts[1] + both + both.T), len(distinct))


def _sums(components: Sequence[Floats], index: npt.NDArray[np.intp], area: Floats, subjects: int) -> Floats:
    """``(models, subjects)`` sums of components over the rows of each subject, less rows times area."""
    rows = np.bincount(index, minlength=subjects)
    sums = [np.bincount(index, values, minlength=subjects) for values in components]
    return np.stack(sums) - area[:, None] * rows


def _scale(count: int) -> float:
    return count / (count - 1) if count > 1 else float("nan")
