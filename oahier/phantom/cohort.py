"""Plan of a phantom cohort: subjects, sides, visits and severities, before any image is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from oahier.phantom.anatomy import Anatomy, Scan, Side
from oahier.phantom.disease import GRADE_THRESHOLDS, grade_from_severity

SIDES: tuple[Side, Side] = ("right", "left")
_GOLDEN = 0.6180339887498949
_START, _SUBJECT, _KNEE, _SEVERITY, _PROGRESS, _SCAN, _READER = range(1, 8)


@dataclass(frozen=True)
class KneePlan:
    """Latent parameters of one scan of one knee."""

    subject: str
    side: Side
    visit: int
    month: int
    severity: float
    rate: float
    """Severity that the subject's knees gain in a year."""
    anatomy: Anatomy
    scan: Scan
    reader_seed: tuple[int, ...]
    """Entropy of the reader's generator."""

    @property
    def knee(self) -> str:
        """Name of the scan, unique within a manifest."""
        return f"{self.subject}{self.side[0].upper()}-V{self.visit:02d}"

    @property
    def true_kl(self) -> int:
        """KL grade of the true severity."""
        return grade_from_severity(self.severity)


def plan_subject(
    number: int, *, seed: int, knees: int, visits: int, grade_weights: Sequence[int | float],
    interval: int = 12, rate: int | float = 0.05,
) -> list[KneePlan]:  # fmt: skip
    r"""All scans of one subject; every knee has its own random streams.

    Severity rises by the subject's own rate, :math:`s(t) = \min(1, s(0) + r t)`, in both knees; rates are
    exponentially distributed around ``rate`` a year. Visits are ``interval`` months apart.

    A knee is the same however many subjects, knees and visits are asked for. Streams of anatomy, pose and
    coil are separate from that of the severity, so that none of them can tell the grade. First knees of
    successive subjects go through the grades evenly (an additive golden-ratio sequence); the second knee's
    severity correlates with the first's (Gaussian copula, 0.6).
    """
    start = np.random.default_rng(_key(_START, seed)).random()
    quantile = (start + number * _GOLDEN) % 1
    draw = np.random.default_rng(_key(_SEVERITY, seed, number))
    first = int(draw.integers(2))
    second = float(ndtr(0.6 * ndtri(np.clip(quantile, 1e-6, 1 - 1e-6)) + 0.8 * draw.normal()))
    own_rate = round(rate * float(np.random.default_rng(_key(_PROGRESS, seed, number)).exponential()), 6)
    plans = []
    for order in range(knees):
        side = (first + order) % 2
        severity = severity_from_quantile(second if order else float(quantile), grade_weights)
        anatomy = Anatomy.draw(
            np.random.default_rng(_key(_SUBJECT, seed, number)),
            np.random.default_rng(_key(_KNEE, seed, number, side)),
        )
        for visit in range(visits):
            month = visit * interval
            now = min(1.0, round(severity + own_rate * month / 12, 6))
            scan = Scan.draw(np.random.default_rng(_key(_SCAN, seed, number, side, visit)))
            reader = _key(_READER, seed, number, side, visit)
            name = f"P{number:04d}"
            plans.append(KneePlan(name, SIDES[side], visit, month, now, own_rate, anatomy, scan, reader))
    return plans


def _key(purpose: int, seed: int, number: int = 0, side: int = 0, visit: int = 0) -> tuple[int, ...]:
    """Entropy of one random stream; of one length, because numpy takes missing words for zeros."""
    return purpose, number, side, visit, seed


def severity_from_quantile(quantile: float, grade_weights: Sequence[int | float]) -> float:
    """Severity whose grade follows the weights, uniform within a grade.

    >>> severity_from_quantile(0.5, (1, 1, 1, 1, 1))
    0.5
    >>> severity_from_quantile(0.5, (1, 0, 0, 0, 1))
    0.8
    """
    weights = np.asarray(grade_weights, dtype=np.float64)
    knots = np.concatenate([[0.0], np.cumsum(weights / weights.sum())])
    grade = min(int(np.searchsorted(knots, quantile, side="right")) - 1, len(weights) - 1)
    grade = min(grade, int(np.flatnonzero(weights)[-1]))  # a quantile of 1
    edges = (0.0, *GRADE_THRESHOLDS, 1.0)
    inside = (quantile - knots[grade]) / (knots[grade + 1] - knots[grade])
    low, high = edges[grade], edges[grade + 1]
    severity = round(float(low + inside * (high - low)), 6)
    return min(max(severity, low), high if high == 1 else round(high - 1e-6, 6))
