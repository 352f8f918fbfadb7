"""McNemar's test of two decisions on the same knees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

EXACT_BELOW = 25
"""Fewer discordant pairs than this are tested exactly."""


@dataclass(frozen=True)
class McNemarResult:
    """The test and its effect size."""

    p_value: float
    mid_p_value: float
    """Exact mid-p: half of the observed table's probability counts; less conservative than exact."""
    test: Literal["mcnemar_exact", "mcnemar_chi2"]
    statistic: float
    """The smaller discordant count (exact) or chi-square."""
    odds_ratio: float
    """Knees only b got right over knees only a got right; NaN without discordant knees, may be infinite."""
    odds_ratio_low: float
    odds_ratio_high: float
    """Exact 95 % interval (Clopper-Pearson of the discordant share)."""
    only_a: int
    only_b: int

    @property
    def p_not_better(self) -> float:
        """Chance that b is not right more often, with a uniform prior of the share of discordant knees.

        >>> [round(mcnemar_from_counts(*counts).p_not_better, 4) for counts in [(7, 28), (10, 17), (21, 15)]]
        [0.0002, 0.0925, 0.838]
        """
        from scipy.stats import beta

        return float(beta.cdf(0.5, self.only_b + 1, self.only_a + 1))


def mcnemar(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> McNemarResult:
    """McNemar's test of whether a and b are right equally often.

    See :func:`mcnemar_from_counts`; the knees must be independent, so one a subject.

    Args:
        correct_a: ``(knees,)`` True where a is right.
        correct_b: ``(knees,)`` True where b is right.

    Raises:
        ValueError: the shapes differ.
    """
    if correct_a.shape != correct_b.shape:
        raise ValueError(
            f"correct_a and correct_b: expected one shape, got {correct_a.shape}, {correct_b.shape}"
        )
    return mcnemar_from_counts(int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum()))


def mcnemar_from_counts(only_a: int, only_b: int, *, exact: bool | None = None) -> McNemarResult:
    r"""McNemar's test from the two discordant counts (McNemar 1947, doi:10.1007/BF02295996).

    Below 25 discordant pairs the exact binomial test; else
    :math:`\chi^2 = (|b - c| - 1)^2 / (b + c)` on one degree of freedom, with Edwards' continuity
    correction (Edwards 1948, doi:10.1007/BF02289261). Mid-p after Fagerland et al. 2013
    (doi:10.1186/1471-2288-13-91). No discordant pair gives p = 1.

    Args:
        only_a: knees that only a got right.
        only_b: knees that only b got right.
        exact: take the exact test or the chi-square one, instead of deciding by the number of pairs.

    Raises:
        ValueError: a count is negative.

    >>> mcnemar_from_counts(8, 6).p_value
    0.79052734375
    >>> mcnemar_from_counts(2, 9).mid_p_value
    0.03857421875
    """
    from scipy.stats import beta, chi2

    if only_a < 0 or only_b < 0:
        raise ValueError(f"expected discordant counts from 0 on, got {only_a} and {only_b}")
    pairs, fewer = only_a + only_b, min(only_a, only_b)
    if pairs == 0:
        nan = float("nan")
        return McNemarResult(1.0, 1.0, "mcnemar_exact", 0.0, nan, nan, nan, 0, 0)
    exactly = pairs < EXACT_BELOW if exact is None else exact
    tail, here = _binomial(fewer, pairs, exactly)
    mid = 2 * tail - here if only_a != only_b else 1 - here / 2
    share_low = float(beta.ppf(0.025, only_b, only_a + 1)) if only_b else 0.0
    share_high = float(beta.ppf(0.975, only_b + 1, only_a)) if only_a else 1.0
    odds = (_odds(only_b / pairs), _odds(share_low), _odds(share_high))
    if exactly:
        return McNemarResult(min(1.0, 2 * tail), mid, "mcnemar_exact", float(fewer), *odds, only_a, only_b)
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / pairs
    return McNemarResult(float(chi2.sf(statistic, 1)), mid, "mcnemar_chi2", statistic, *odds, only_a, only_b)


def _binomial(count: int, pairs: int, exactly: bool) -> tuple[float, float]:
    """P(X <= count) and P(X = count) of fair coins; rounded once where the exact test is used."""
    if exactly:
        ways = [math.comb(pairs, k) for k in range(count + 1)]
        return sum(ways) / 2**pairs, ways[-1] / 2**pairs
    from scipy.stats import binom

    return float(binom.cdf(count, pairs, 0.5)), float(binom.pmf(count, pairs, 0.5))


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else float("inf")
