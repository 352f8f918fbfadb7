"""Every metric of a head in one call, on whole arrays; what the callbacks log each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from oahier.metrics.coherence import LevelRows
from oahier.metrics.registry import Metric, registered
from oahier.metrics.rows import Rows, as_array


def evaluate(rows: Rows, metrics: Iterable[Metric] | None = None) -> dict[str, float]:
    """The value of every metric that a head has.

    All are NaN without labelled rows or where a probability is not finite (as after a diverged training
    step); what else makes one undefined, its function says.

    Args:
        rows: labels and probabilities of the head.
        metrics: those to compute; the registered ones when not given. Metrics of other heads are left out.
    """
    chosen = registered() if metrics is None else metrics
    return {metric.name: metric.value(rows) for metric in chosen if metric.applies(rows)}


def ordinal_metrics(probabilities: Any, labels: Any, severity: Any = None) -> dict[str, float]:
    """Metrics of a head that tells ordered grades apart; see :func:`evaluate`.

    ``qwk``, ``linear_kappa``, ``accuracy``, ``accuracy_within_one``, ``mae`` and ``macro_mae`` (mean absolute
    error in grades), ``macro_auc``, ``macro_f1``, ``rps`` (ranked probability score), ``spearman`` (of
    severity with the grade), ``ece`` (expected calibration error); with five grades also ``severe_auc``
    (area under the ROC curve of severity for KL >= 3). The predicted grade is the most probable one.

    Args:
        probabilities: ``(rows, grades)`` array or tensor.
        labels: ``(rows,)`` grades; rows with ``MISSING`` are left out.
        severity: ``(rows,)`` expected grade; computed from the probabilities when not given.

    Raises:
        ValueError: see :meth:`~oahier.metrics.Rows.of`.

    >>> p = [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.1, 0.6, 0.3]]
    >>> values = ordinal_metrics(p, [0, 1, 2, 2])
    >>> round(values["qwk"], 4), round(values["mae"], 4), round(values["macro_auc"], 4)
    (0.8, 0.25, 0.8472)
    """
    p = as_array(probabilities)
    if p.ndim != 2 or p.shape[1] < 3:
        raise ValueError(
            f"probabilities: expected shape (rows, grades) with three grades or more, got {p.shape}; "
            "binary_metrics is for two classes"
        )
    return evaluate(Rows.of(p, labels, severity=severity))


def binary_metrics(probability: Any, labels: Any) -> dict[str, float]:
    """Metrics of a head that tells OA from no OA; the decision is P >= 0.5; see :func:`evaluate`.

    ``auc``, ``average_precision``, ``accuracy``, ``f1``, ``sensitivity``, ``specificity``, ``brier``.

    Args:
        probability: ``(rows,)`` P(OA), array or tensor.
        labels: ``(rows,)`` 0 or 1; rows with ``MISSING`` are left out.

    Raises:
        ValueError: see :meth:`~oahier.metrics.Rows.of`.

    >>> values = binary_metrics([0.9, 0.6, 0.4, 0.1], [1, 0, 1, 0])
    >>> values["auc"], values["sensitivity"]
    (0.75, 0.5)
    """
    p = as_array(probability)
    if p.ndim != 1:
        raise ValueError(f"probability: expected shape (rows,), got {p.shape}")
    return evaluate(Rows.of(p, labels))


def hierarchy_metrics(oa_probability: Any, kl_probabilities: Any) -> dict[str, float]:
    """How far the two levels of the hierarchy agree with each other; needs no labels.

    ``agreement``: share of knees whose OA decision is that of the most probable grade; ``probability_gap``:
    mean absolute difference of P(OA) and the sum of the probabilities of the grades that are OA. NaN without
    rows or where a probability is not finite.

    Args:
        oa_probability: ``(rows,)`` P(OA).
        kl_probabilities: ``(rows, 5)``.

    >>> values = hierarchy_metrics([0.8, 0.7], [[0.1, 0.2, 0.6, 0.1, 0.0], [0.1, 0.5, 0.2, 0.1, 0.1]])
    >>> values["agreement"], round(values["probability_gap"], 4)
    (0.5, 0.2)
    """
    coarse, fine = (np.asarray(as_array(p), dtype=np.float64) for p in (oa_probability, kl_probabilities))
    rows = LevelRows(coarse, fine)
    return {metric.name: metric.value(rows) for metric in registered("hierarchy")}
