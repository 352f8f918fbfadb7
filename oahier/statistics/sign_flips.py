"""Exact tests of paired differences, for samples too small for a t distribution."""

from __future__ import annotations

import numpy as np

from oahier.metrics.weighted import Floats

FEWEST = 6
"""Fewer subjects allow no 95 % interval: five unanimous ones have p = 2 * 2**-5 = 0.0625."""
MOST = 16
"""Up to this many subjects on which two models differ, all ways to swap the models are counted."""

_TIE = 1e-9


def smallest_p(subjects: int) -> float:
    """The smallest two-sided p value that so many unanimous subjects allow.

    >>> smallest_p(2), smallest_p(6)
    (0.5, 0.03125)
    """
    return float(min(1.0, 2.0 ** (1 - subjects)))


def sign_flip_test(differences: Floats) -> tuple[float, float]:
    r"""Share of all ways to swap the models of subjects that give a sum as far from zero (Fisher 1935).

    With *k* differences that are not zero there are :math:`2^k` ways, all equally likely if it makes no
    difference which model is which; exact for means over subjects.

    Args:
        differences: ``(subjects,)``, at most ``MOST`` of them not zero.

    Returns:
        Two-sided p, and one-sided p of a sum above zero; both 1 without a difference.

    >>> sign_flip_test(np.array([1.0, 1.0, 0.0])), sign_flip_test(np.zeros(3))
    ((0.5, 0.25), (1.0, 1.0))
    """
    apart = differences[np.abs(differences) > _TIE * max(1.0, float(np.abs(differences).max(initial=0)))]
    signs = 1 - 2 * ((np.arange(2 ** len(apart))[:, None] >> np.arange(len(apart))) & 1)
    sums, found = signs @ apart, float(apart.sum())
    tie = _TIE * max(1.0, float(np.abs(apart).sum()))
    return float((np.abs(sums) >= abs(found) - tie).mean()), float((sums >= found - tie).mean())
