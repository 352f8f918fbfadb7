"""Stuart-Maxwell test of marginal homogeneity of two models' grades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from oahier.types import KL_GRADES


@dataclass(frozen=True)
class MarginalResult:
    """A test of marginal homogeneity."""

    statistic: float
    """Chi-square."""
    degrees: int
    """Degrees of freedom: grades that occur, less one."""
    p_value: float


def marginal_homogeneity(
    grades_a: npt.NDArray[np.integer],
    grades_b: npt.NDArray[np.integer],
    *,
    method: Literal["stuart_maxwell", "bhapkar"] = "bhapkar",
    grades: int = KL_GRADES,
) -> MarginalResult:
    r"""Stuart-Maxwell or Bhapkar test that two readings of the same knees have the same distribution.

    With :math:`d` the differences of the margins of the table of a against b (all grades but one) and
    :math:`S` their estimated covariance, :math:`\chi^2 = d^\top S^{-1} d`; Bhapkar's uses the unrestricted
    covariance and is the more powerful (Stuart 1955, doi:10.1093/biomet/42.3-4.412; Maxwell 1970,
    doi:10.1192/bjp.116.535.651; Bhapkar 1966, doi:10.1080/01621459.1966.10502021). Computed by statsmodels.
    For two models' predicted grades it generalises McNemar's test of who says OA more often; against the
    labels it finds grades that a model hands out too often. Knees must be independent.

    Args:
        grades_a: ``(knees,)`` grades by the first.
        grades_b: ``(knees,)`` grades by the second.
        method: which covariance.
        grades: number of grades; those that neither uses are left out.

    Returns:
        Statistic 0 and p 1 where both margins are equal; NaN where the covariance cannot be inverted (some
        grades are never exchanged with the others).

    Raises:
        ValueError: shapes that differ, or a grade outside the scale.

    >>> result = marginal_homogeneity(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 2, 2]), grades=3)
    >>> result.degrees, round(result.p_value, 4)
    (2, 0.2231)
    """
    counts = checked_counts(grades_a, grades_b, grades)
    used = counts.sum(axis=0) + counts.sum(axis=1) > 0
    counts = counts[np.ix_(used, used)]
    degrees = max(0, len(counts) - 1)
    difference = (counts.sum(axis=1) - counts.sum(axis=0))[:-1].astype(np.float64)
    if not difference.any():
        return MarginalResult(0.0, degrees, 1.0)
    if np.linalg.matrix_rank(_covariance(counts.astype(np.float64), difference, method)) < degrees:
        return MarginalResult(float("nan"), degrees, float("nan"))
    from statsmodels.stats.contingency_tables import SquareTable

    result = SquareTable(counts, shift_zeros=False).homogeneity(method=method)
    return MarginalResult(float(result.statistic), degrees, float(result.pvalue))


def checked_counts(
    grades_a: npt.NDArray[np.integer], grades_b: npt.NDArray[np.integer], grades: int
) -> npt.NDArray[np.int64]:
    """``(grades, grades)`` knees by the grades of the first and of the second.

    Raises:
        ValueError: shapes that differ, or a grade outside the scale.
    """
    if grades_a.shape != grades_b.shape or grades_a.ndim != 1:
        raise ValueError(
            f"grades_a, grades_b: expected one shape (knees,), got {grades_a.shape}, {grades_b.shape}"
        )
    for name, values in (("grades_a", grades_a), ("grades_b", grades_b)):
        if ((values < 0) | (values >= grades)).any():
            raise ValueError(f"{name}: expected grades 0 to {grades - 1}, got {sorted(set(values.tolist()))}")
    table = np.bincount(grades_a * grades + grades_b, minlength=grades**2)
    return np.asarray(table.reshape(grades, grades))


def _covariance(
    counts: npt.NDArray[np.float64], difference: npt.NDArray[np.float64], method: str
) -> npt.NDArray[np.float64]:
    covariance = -(counts + counts.T)[:-1, :-1]
    margins = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    np.fill_diagonal(covariance, margins[:-1])
    if method == "bhapkar":
        covariance -= np.outer(difference, difference) / counts.sum()
    return np.asarray(covariance)
