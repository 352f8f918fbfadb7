"""Maps from a head's probabilities to better calibrated ones, fitted on knees that are not evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from oahier.metrics.weighted import Classes, Floats
from oahier.specs import Specified, make

LEAST = 1e-30
"""Probabilities are taken as at least this before a logarithm."""
_COLDEST, _HOTTEST = 0.05, 20.0


class Calibrator(Specified, ABC):
    """A map of probabilities that remembers what it was fitted to."""

    @abstractmethod
    def fit(self, probabilities: Floats, labels: Classes) -> Calibrator:
        """A new one of this kind, fitted to ``(rows, classes)`` probabilities and ``(rows,)`` labels."""

    @abstractmethod
    def apply(self, probabilities: Floats) -> Floats:
        """``(rows, classes)`` probabilities that sum to one; rows that are not finite stay."""

    @abstractmethod
    def describe(self) -> str:
        """What it does, in a few words."""


class Temperature(Calibrator):
    r"""Temperature scaling, :math:`p_k^{1/T} / \sum_j p_j^{1/T}` (Guo et al. 2017, arXiv:1706.04599).

    For a softmax this divides the logits by *T*, which minimises the negative log-likelihood; the order of
    the classes of a row stays. *T* is sought from 0.05 to 20: separable labels have no finite best one.

    Args:
        temperature: above 0; 1 changes nothing.

    Raises:
        ValueError: a temperature that is not above 0.

    >>> Temperature(2.0).apply(np.array([[0.8, 0.2]])).round(4).tolist()
    [[0.6667, 0.3333]]
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"Temperature: expected a temperature above 0, got {temperature}")
        self.temperature = temperature

    def fit(self, probabilities: Floats, labels: Classes) -> Calibrator:
        from scipy.optimize import minimize_scalar

        logs = np.log(np.clip(probabilities, LEAST, 1))
        rows = np.arange(len(labels))

        def loss(coldness: float) -> float:
            scaled = coldness * logs
            peak = scaled.max(axis=1, keepdims=True)
            total = np.log(np.exp(scaled - peak).sum(axis=1)) + peak[:, 0]
            return float((total - scaled[rows, labels]).mean())

        found = minimize_scalar(
            loss, bounds=(1 / _HOTTEST, 1 / _COLDEST), method="bounded", options={"xatol": 1e-9}
        )
        return make(type(self), temperature=1 / float(found.x))

    def apply(self, probabilities: Floats) -> Floats:
        scaled = np.log(np.clip(probabilities, LEAST, 1)) / self.temperature
        raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def describe(self) -> str:
        return f"temperature {self.temperature:.3g}"


class Isotonic(Calibrator):
    r"""Isotonic regression of :math:`P(y \ge k)` for each grade *k*, kept in order over the grades.

    Two classes: the pool-adjacent-violators fit by scikit-learn (Zadrozny & Elkan 2002,
    doi:10.1145/775047.775151). It needs many knees: a hundred give steps of several per cent.

    Args:
        steps: for each grade from 1 on, the probabilities and the fitted shares at them; none before a fit.
    """

    def __init__(self, steps: Sequence[Sequence[Sequence[float]]] = ()) -> None:
        self.steps = steps

    def fit(self, probabilities: Floats, labels: Classes) -> Calibrator:
        from sklearn.isotonic import IsotonicRegression

        steps = []
        for grade, above in enumerate(_at_least(probabilities).T, start=1):
            model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(above, labels >= grade)
            steps.append([model.X_thresholds_.tolist(), model.y_thresholds_.tolist()])
        return make(type(self), steps=steps)

    def apply(self, probabilities: Floats) -> Floats:
        if not self.steps:
            return probabilities
        above = _at_least(probabilities).T
        fitted = np.stack(
            [np.interp(column, x, y) for column, (x, y) in zip(above, self.steps, strict=True)], axis=1
        )
        fitted = np.minimum.accumulate(fitted, axis=1)
        edges = np.concatenate([np.ones((len(fitted), 1)), fitted, np.zeros((len(fitted), 1))], axis=1)
        return np.asarray(-np.diff(edges, axis=1))

    def describe(self) -> str:
        return "isotonic regression"


def _at_least(probabilities: Floats) -> Floats:
    """``(rows, classes - 1)`` probabilities of each class or a higher one, from class 1 on."""
    return np.asarray(probabilities[:, ::-1].cumsum(axis=1)[:, -2::-1])
