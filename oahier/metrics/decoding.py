"""Decoding of probabilities: the grade whose expected cost is smallest, for the metric that one reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from oahier.metrics.rows import decisions
from oahier.metrics.weighted import Classes, Floats
from oahier.specs import Specified
from oahier.types import MISSING


class Decoding(Specified, ABC):
    r"""A rule of decision: the grade :math:`d` with the smallest expected cost :math:`\sum_k p_k C_{kd}`.

    It is a property of prediction: the same trained model, the same probabilities, other grades. Of two
    classes the decision stays P >= 0.5 or the threshold that was fitted.
    """

    @abstractmethod
    def costs(self, num_classes: int) -> Floats:
        """Cost ``(num_classes, num_classes)`` of every decision (column) for every true grade (row)."""

    @property
    def name(self) -> str:
        """The rule in a word or three, as tables have it."""
        return self.describe().partition(" (")[0]

    @abstractmethod
    def describe(self) -> str:
        """The rule, and in parentheses the metric that it is best for."""

    def decide(self, probabilities: Floats) -> Classes:
        """The decision of each row; ``MISSING`` where a probability is not finite; the lower grade in a tie.

        Args:
            probabilities: ``(rows, classes)``.
        """
        if probabilities.shape[1] == 2:
            return decisions(probabilities)
        finite = np.asarray(np.isfinite(probabilities).all(axis=1))
        expected = np.where(finite[:, None], probabilities, 0.0) @ self.costs(probabilities.shape[1])
        best = np.asarray(expected <= expected.min(axis=1, keepdims=True) + 1e-12)
        return np.where(finite, best.argmax(axis=1), MISSING)


class MostProbable(Decoding):
    """The most probable grade: best for accuracy, whose cost is 1 for every wrong grade.

    >>> MostProbable().decide(np.array([[0.45, 0.0, 0.2, 0.35]])).tolist()
    [0]
    """

    def costs(self, num_classes: int) -> Floats:
        return 1.0 - np.eye(num_classes)

    def describe(self) -> str:
        return "most probable grade (accuracy)"


class WeightedMedian(Decoding):
    """The median of the probabilities: best for the mean absolute error.

    The expected distance grows by ``P(y <= d) - P(y > d)`` from d to d + 1, so it is smallest at the first
    grade with ``P(y <= d) >= 0.5``.

    >>> WeightedMedian().decide(np.array([[0.45, 0.0, 0.2, 0.35]])).tolist()
    [2]
    """

    def costs(self, num_classes: int) -> Floats:
        grades = np.arange(num_classes)
        return np.asarray(np.abs(grades[:, None] - grades), dtype=np.float64)

    def describe(self) -> str:
        return "median grade (mean absolute error)"


class QuadraticCost(Decoding):
    r"""The grade nearest to a stretched expected grade: best for quadratic weighted kappa.

    Kappa is :math:`1 - N/D` with :math:`N` the mean squared distance of decision and truth, and :math:`D` the
    same for independent ones. The decisions that maximise it minimise :math:`N - (1 - \kappa) D` at the kappa
    that they reach (Dinkelbach 1967, doi:10.1287/mnsc.13.7.492), so a knee's cost is :math:`C_{kd} =
    (k - d)^2 - (1 - \kappa) \sum_j \pi_j (j - d)^2` with :math:`\pi` the shares of the grades. With expected
    grade :math:`\mu` and mean grade :math:`m` that is smallest for the :math:`d` nearest to
    :math:`m + (\mu - m) / \kappa`.

    Args:
        kappa: the kappa to expect, such as that on validation; at 1 the grade is the rounded expected one.
        shares: of the grades in the training split (counts will do); needed where kappa is below 1.

    Raises:
        ValueError: a kappa outside (0, 1]; shares that are missing, negative, all 0 or of other grades.

    >>> p = np.array([[0.45, 0.0, 0.2, 0.35]])  # expected grade 1.45
    >>> QuadraticCost().decide(p).tolist(), QuadraticCost(0.5, [10.0, 0.0, 0.0, 1.0]).decide(p).tolist()
    ([1], [3])
    """

    def __init__(self, kappa: float = 1.0, shares: Sequence[float] | None = None) -> None:
        if not 0 < kappa <= 1:
            raise ValueError(f"QuadraticCost: kappa must lie in (0, 1], got {kappa}")
        given = [float(share) for share in shares or ()]
        if (kappa < 1 and not given) or (given and not (min(given) >= 0 and sum(given) > 0)):
            raise ValueError(
                "QuadraticCost: shares: expected the training knees of each grade, 0 or more and not all 0, "
                f"as kappa is {kappa}, got {shares}"
            )
        self.kappa, self.shares = kappa, given

    def costs(self, num_classes: int) -> Floats:
        grades = np.arange(num_classes)
        squares = (grades[:, None] - grades).astype(np.float64) ** 2
        if not self.shares:
            return squares
        if len(self.shares) != num_classes:
            raise ValueError(
                f"QuadraticCost: shares: expected those of {num_classes} grades, got {len(self.shares)}"
            )
        by_chance = np.array(self.shares) / sum(self.shares) @ squares
        return np.asarray(squares - (1 - self.kappa) * by_chance)

    def describe(self) -> str:
        if self.kappa == 1:
            return "rounded expected grade (quadratic weighted kappa)"
        return f"expected grade stretched by 1 / {self.kappa:g} (quadratic weighted kappa)"


BEST_FOR: dict[str, type[Decoding]] = {"accuracy": MostProbable, "mae": WeightedMedian, "qwk": QuadraticCost}
"""The rule that is best for a metric, without further numbers."""
