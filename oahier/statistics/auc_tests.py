"""Tests of two areas under ROC curves: of the same or of other knees, two-sided or one-sided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from oahier.statistics.clustered_auc import clustered_auc
from oahier.statistics.delong import DeLongResult, delong

Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True)
class AUCTest:
    """A test of ``b - a``."""

    auc_a: float
    auc_b: float
    difference: float
    ci_low: float
    ci_high: float
    statistic: float
    """Z, or t of unpaired areas."""
    df: float
    """Infinite for Z."""
    p_value: float
    alternative: Alternative


def paired_auc_test(
    labels: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    subjects: npt.ArrayLike | None = None,
    alternative: Alternative = "two-sided",
) -> AUCTest:
    """Compare two models on the same knees.

    DeLong et al. 1988 (doi:10.2307/2531595); with ``subjects``, the covariance of Obuchowski 1997
    (:func:`clustered_auc`). The interval is two-sided, 95 %.

    Args:
        labels: ``(rows,)`` 0 or 1.
        a: ``(rows,)`` scores of the first model, larger for 1.
        b: those of the second.
        subjects: ``(rows,)`` who each row belongs to; rows are independent when not given.
        alternative: ``"greater"`` tests whether b has the larger area.

    Raises:
        ValueError: see :func:`clustered_auc`; another alternative.

    >>> paired_auc_test([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.8], [0.1, 0.4, 0.3, 0.8]).p_value
    1.0
    """
    scores = [np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)]
    found = delong(labels, scores) if subjects is None else clustered_auc(labels, scores, subjects)
    pair = found.compare(0, 1)
    p = _tail(pair.z, np.inf, alternative)
    area_a, area_b = map(float, found.auc)
    return AUCTest(area_a, area_b, pair.difference, pair.ci_low, pair.ci_high, pair.z, np.inf, p, alternative)


def unpaired_auc_test(
    labels_a: npt.ArrayLike,
    a: npt.ArrayLike,
    labels_b: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    subjects_a: npt.ArrayLike | None = None,
    subjects_b: npt.ArrayLike | None = None,
    alternative: Alternative = "two-sided",
) -> AUCTest:
    r"""Compare areas on two sets of knees that share no subject.

    :math:`t = (A_b - A_a) / \sqrt{V_a + V_b}` on Welch's degrees of freedom
    :math:`(V_a + V_b)^2 / (V_a^2 / (n_a - 1) + V_b^2 / (n_b - 1))`, as pROC's ``roc.test(paired=FALSE)``
    (Robin et al. 2011, doi:10.1186/1471-2105-12-77); *n* are rows, or subjects where they are given.

    Args:
        labels_a: 0 or 1 of the first set.
        a: its scores.
        labels_b: 0 or 1 of the second set.
        b: its scores.
        subjects_a: who the rows of the first set belong to; rows are independent when not given.
        subjects_b: those of the second.
        alternative: ``"greater"`` tests whether b has the larger area.

    Raises:
        ValueError: see :func:`clustered_auc`; a subject in both sets; another alternative.
    """
    from scipy.stats import t

    if subjects_a is not None and subjects_b is not None:
        shared = np.intersect1d(np.asarray(subjects_a, dtype=str), np.asarray(subjects_b, dtype=str))
        if len(shared):
            raise ValueError(
                f"unpaired_auc_test: expected sets without a common subject, got {len(shared)} in both "
                f"({shared[0]}); compare the same knees with paired_auc_test"
            )
    one, n_a = _single(labels_a, a, subjects_a)
    other, n_b = _single(labels_b, b, subjects_b)
    variances = float(one.covariance[0, 0]), float(other.covariance[0, 0])
    total = sum(variances)
    area_a, area_b = float(one.auc[0]), float(other.auc[0])
    difference = area_b - area_a
    if not total > 0:
        nan = float("nan")
        return AUCTest(area_a, area_b, difference, nan, nan, nan, nan, nan, alternative)
    df = total**2 / (variances[0] ** 2 / (n_a - 1) + variances[1] ** 2 / (n_b - 1))
    statistic = difference / np.sqrt(total)
    reach = float(t.ppf(0.975, df)) * np.sqrt(total)
    p = _tail(statistic, df, alternative)
    return AUCTest(
        area_a, area_b, difference, float(difference - reach), float(difference + reach), float(statistic),
        float(df), p, alternative,
    )  # fmt: skip


def _single(
    labels: npt.ArrayLike, scores: npt.ArrayLike, subjects: npt.ArrayLike | None
) -> tuple[DeLongResult, int]:
    values = [np.asarray(scores, dtype=np.float64)]
    if subjects is None:
        return delong(labels, values), len(values[0])
    return clustered_auc(labels, values, subjects), len(np.unique(np.asarray(subjects, dtype=str)))


def _tail(statistic: float, df: float, alternative: Alternative) -> float:
    from scipy.stats import t

    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"alternative: expected two-sided, greater or less, got {alternative!r}")
    if statistic != statistic:
        return float("nan")
    if alternative == "two-sided":
        return min(1.0, 2 * float(t.sf(abs(statistic), df)))
    return float(t.sf(statistic if alternative == "greater" else -statistic, df))
