"""Bowker's test of symmetry of two readings of the same knees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oahier.statistics.stuart_maxwell import MarginalResult, checked_counts
from oahier.types import KL_GRADES


def bowker(
    grades_a: npt.NDArray[np.integer], grades_b: npt.NDArray[np.integer], *, grades: int = KL_GRADES
) -> MarginalResult:
    r"""Bowker's test that every exchange of two grades is as frequent one way as the other.

    :math:`\chi^2 = \sum_{i<j} (n_{ij} - n_{ji})^2 / (n_{ij} + n_{ji})` (Bowker 1948,
    doi:10.1080/01621459.1948.10483284), computed by statsmodels; two classes make it McNemar's test. Only
    pairs that are exchanged at all count as degrees of freedom. Knees must be independent.

    Args:
        grades_a: ``(knees,)`` grades by the first.
        grades_b: ``(knees,)`` grades by the second.
        grades: number of grades.

    Returns:
        Statistic 0 and p 1 where no knee has two different grades.

    Raises:
        ValueError: shapes that differ, or a grade outside the scale.

    >>> result = bowker(np.array([0, 0, 0, 1, 2]), np.array([1, 1, 1, 0, 2]), grades=3)
    >>> result.statistic, result.degrees, round(result.p_value, 4)
    (1.0, 1, 0.3173)
    """
    counts = checked_counts(grades_a, grades_b, grades)
    exchanged = np.triu(counts + counts.T, 1) > 0
    if not exchanged.any():
        return MarginalResult(0.0, 0, 1.0)
    from scipy.stats import chi2
    from statsmodels.stats.contingency_tables import SquareTable

    with np.errstate(divide="ignore", invalid="ignore"):
        result = SquareTable(counts, shift_zeros=False).symmetry(method="bowker")
    statistic, degrees = float(result.statistic), int(exchanged.sum())
    return MarginalResult(statistic, degrees, float(chi2.sf(statistic, degrees)))
