"""Correction of p values over a declared family of tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Floats
from oahier.statistics.contrasts import judged
from oahier.statistics.tables import Comparison

Correction = Literal["bh", "holm", "none"]
_METHODS = {"bh": "fdr_bh", "holm": "holm"}


def adjust_p_values(p_values: npt.ArrayLike, correction: Correction = "bh") -> Floats:
    r"""Adjusted p values; compare them with the level as they are.

    ``bh``: Benjamini & Hochberg 1995 (doi:10.1111/j.2517-6161.1995.tb02031.x), the false discovery rate:
    :math:`q_{(i)} = \min_{j \ge i} m \, p_{(j)} / j`. ``holm``: Holm 1979 (Scand J Stat 6:65), the chance of
    any false rejection: :math:`\max_{j \le i} (m - j + 1) \, p_{(j)}`. Both by statsmodels.

    Args:
        p_values: ``(tests,)``; NaN (an undefined test) stays NaN and is not counted in *m*.
        correction: method, or ``none``.

    Raises:
        ValueError: another method, or a p value outside 0 to 1.

    >>> adjust_p_values([0.01, 0.04, 0.03], "bh").round(3).tolist()
    [0.03, 0.04, 0.04]
    >>> adjust_p_values([0.01, 0.04, 0.03], "holm").round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.array(p_values, dtype=np.float64)
    defined = np.isfinite(p)
    if p.ndim != 1 or (p[defined] < 0).any() or (p[defined] > 1).any():
        raise ValueError(f"p_values: expected a list of values from 0 to 1, got {p.tolist()}")
    if correction != "none" and correction not in _METHODS:
        raise ValueError(f"correction: expected bh, holm or none, got {correction!r}")
    if correction == "none" or not defined.any():
        return p
    from statsmodels.stats.multitest import multipletests

    p[defined] = multipletests(p[defined], method=_METHODS[correction])[1]
    return p


def adjust_comparisons(rows: Sequence[Comparison], correction: Correction = "bh") -> list[Comparison]:
    """Fill ``p_adjusted``, ``correction`` and the verdict of rows that form one family.

    Raises:
        ValueError: see :func:`adjust_p_values`.
    """
    adjusted = adjust_p_values([row.p_value for row in rows], correction)
    return [
        judged(replace(row, p_adjusted=float(p), correction=correction))
        for row, p in zip(rows, adjusted, strict=True)
    ]
