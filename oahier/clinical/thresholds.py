"""Rules that choose the decision threshold of a probability on labelled knees."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from oahier.metrics.weighted import Floats, Marks
from oahier.specs import Specified


class ThresholdRule(Specified, ABC):
    """Chooses a threshold; a knee is positive from it on."""

    def choose(self, scores: Floats, positive: Marks) -> float:
        """The candidate with the highest :meth:`value`; of several, the one nearest to 0.5.

        Candidates lie midway between neighbouring scores, below the lowest and above the highest one.

        Args:
            scores: ``(rows,)`` probabilities.
            positive: ``(rows,)`` True where the label is 1.

        Returns:
            NaN without rows of both classes.
        """
        if not len(scores) or positive.all() or not positive.any():
            return float("nan")
        levels = np.unique(scores)
        candidates = np.concatenate(
            [[levels[0]], (levels[1:] + levels[:-1]) / 2, [(levels[-1] + 1) / 2 + 1e-9]]
        )
        called = np.searchsorted(np.sort(scores[positive]), candidates, "left")
        sensitivity = 1 - called / positive.sum()
        specificity = np.searchsorted(np.sort(scores[~positive]), candidates, "left") / (~positive).sum()
        values = self.value(sensitivity, specificity, float(positive.mean()))
        best = np.flatnonzero(values >= values.max() - 1e-12)
        return float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])

    @abstractmethod
    def value(self, sensitivity: Floats, specificity: Floats, share: float) -> Floats:
        """What is maximised, ``(candidates,)``; ``share`` is that of positive rows."""

    @abstractmethod
    def describe(self) -> str:
        """The rule in a few words."""


class Youden(ThresholdRule):
    """The largest sensitivity + specificity - 1 (Youden 1950, Cancer 3:32).

    >>> Youden().choose(np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, False, True, True]))
    0.25
    """

    def value(self, sensitivity: Floats, specificity: Floats, share: float) -> Floats:
        return sensitivity + specificity - 1

    def describe(self) -> str:
        return "largest Youden index"


class MostAccurate(ThresholdRule):
    """The largest share of right decisions."""

    def value(self, sensitivity: Floats, specificity: Floats, share: float) -> Floats:
        return share * sensitivity + (1 - share) * specificity

    def describe(self) -> str:
        return "largest accuracy"


class FixedSpecificity(ThresholdRule):
    """The largest sensitivity at a specificity of at least ``specificity``.

    Args:
        specificity: from above 0 to 1.

    Raises:
        ValueError: it is out of range.
    """

    def __init__(self, specificity: float = 0.9) -> None:
        if not 0 < specificity <= 1:
            raise ValueError(
                f"FixedSpecificity: expected a specificity above 0, at most 1, got {specificity}"
            )
        self.specificity = specificity

    def value(self, sensitivity: Floats, specificity: Floats, share: float) -> Floats:
        return np.where(specificity >= self.specificity - 1e-12, sensitivity + 1e-6 * specificity, -1.0)

    def describe(self) -> str:
        return f"specificity of at least {self.specificity:g}"
