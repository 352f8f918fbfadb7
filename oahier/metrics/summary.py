"""Every measure of a head in one call, on whole arrays; what the callbacks log each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oahier.hierarchy import decisions_agree, hierarchy_gap
from oahier.metrics import confusion as matrix
from oahier.metrics.probability import brier_score, calibration_error, ranked_probability_score
from oahier.metrics.ranking import average_precision, binary_auc, macro_auc, spearman
from oahier.types import KL_GRADES, MISSING

SEVERE_FROM_GRADE = 3
"""KL 3 (moderate) and above, which ``severe_auc`` asks for."""

Array = Tensor | npt.NDArray[Any]


def ordinal_metrics(probabilities: Array, labels: Array, severity: Array | None = None) -> dict[str, float]:
    """Measures of a head that tells ordered grades apart.

    ``qwk``, ``linear_kappa``, ``accuracy``, ``accuracy_within_one``, ``mae`` and ``macro_mae`` (mean absolute
    error in grades), ``macro_auc``, ``macro_f1``, ``rps`` (ranked probability score), ``spearman`` (of
    severity with the grade), ``ece`` (expected calibration error); with five grades also ``severe_auc``
    (area under the ROC curve of severity for KL >= 3). The predicted grade is the most probable one.

    Undefined values are NaN: all of them without labelled rows or where a probability is not finite (as
    after a diverged training step); ``macro_auc`` and ``macro_mae`` when a grade has no row; ``macro_f1``
    when a grade is neither present nor predicted; ``spearman`` when labels or severities are constant; both
    kappas when truth and prediction are one and the same grade; ``severe_auc`` when either side is empty.

    Args:
        probabilities: ``(rows, grades)``.
        labels: ``(rows,)`` grades; rows with ``MISSING`` are left out.
        severity: ``(rows,)`` expected grade; computed from the probabilities when not given.

    Raises:
        ValueError: shapes that do not fit, or a grade outside the scale.

    >>> p = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.1, 0.6, 0.3]])
    >>> values = ordinal_metrics(p, torch.tensor([0, 1, 2, 2]))
    >>> round(values["qwk"], 4), round(values["mae"], 4), round(values["macro_auc"], 4)
    (0.8, 0.25, 0.8472)
    """
    p, y = _tensor(probabilities), _tensor(labels)
    if p.ndim != 2:
        raise ValueError(f"probabilities: expected shape (rows, grades), got {tuple(p.shape)}")
    expected_grade = (p.double() * torch.arange(p.shape[1])).sum(dim=1)
    s = _labelled(expected_grade if severity is None else _tensor(severity), y).double()
    p, y = _labelled(p, y).double(), _labelled(y, y).long()
    values = {
        "macro_auc": macro_auc(p, y),
        "rps": ranked_probability_score(p, y),
        "spearman": spearman(s, y),
        "ece": calibration_error(p, y),
    }
    if p.shape[1] == KL_GRADES:
        values["severe_auc"] = binary_auc(s, (y >= SEVERE_FROM_GRADE).long())
    counts = matrix.confusion_matrix(p.argmax(dim=1), y, p.shape[1])
    values |= {
        "qwk": matrix.weighted_kappa(counts, power=2),
        "linear_kappa": matrix.weighted_kappa(counts, power=1),
        "accuracy": matrix.accuracy(counts),
        "accuracy_within_one": matrix.accuracy_within(counts, grades=1),
        "mae": matrix.mean_absolute_error(counts),
        "macro_mae": matrix.macro_mean_absolute_error(counts),
        "macro_f1": matrix.macro_f1(counts),
    }
    return _as_floats(values, defined=_finite(p, s))


def binary_metrics(probability: Array, labels: Array) -> dict[str, float]:
    """Measures of a head that tells OA from no OA; the decision is P >= 0.5.

    ``auc``, ``average_precision``, ``accuracy``, ``f1``, ``sensitivity``, ``specificity``, ``brier``.

    Undefined values are NaN: all of them without labelled rows or where a probability is not finite; ``auc``
    and ``average_precision`` when a class is absent; ``sensitivity`` without positive, ``specificity``
    without negative rows; ``f1`` when the positive class is neither present nor predicted.

    Args:
        probability: ``(rows,)`` P(OA).
        labels: ``(rows,)`` 0 or 1; rows with ``MISSING`` are left out.

    Raises:
        ValueError: shapes that do not fit, or a label other than 0, 1 and ``MISSING``.

    >>> values = binary_metrics(torch.tensor([0.9, 0.6, 0.4, 0.1]), torch.tensor([1, 0, 1, 0]))
    >>> values["auc"], values["sensitivity"]
    (0.75, 0.5)
    """
    p, y = _tensor(probability), _tensor(labels)
    if p.ndim != 1:
        raise ValueError(f"probability: expected shape (rows,), got {tuple(p.shape)}")
    p, y = _labelled(p, y).double(), _labelled(y, y).long()
    counts = matrix.confusion_matrix((p >= 0.5).long(), y, 2)
    values = {
        "auc": binary_auc(p, y),
        "average_precision": average_precision(p, y),
        "accuracy": matrix.accuracy(counts),
        "f1": matrix.f1_per_class(counts)[1],
        "sensitivity": matrix.sensitivity(counts),
        "specificity": matrix.specificity(counts),
        "brier": brier_score(p, y),
    }
    return _as_floats(values, defined=_finite(p))


def hierarchy_metrics(oa_probability: Array, kl_probabilities: Array) -> dict[str, float]:
    """How far the two levels of the hierarchy agree with each other; needs no labels.

    ``agreement``: share of knees whose OA decision equals KL >= 2 of the most probable grade;
    ``probability_gap``: mean absolute difference of P(OA) and the sum of P(KL >= 2). NaN without rows or
    where a probability is not finite.

    Args:
        oa_probability: ``(rows,)`` P(OA).
        kl_probabilities: ``(rows, 5)``.

    >>> grades = torch.tensor([[0.1, 0.2, 0.6, 0.1, 0.0], [0.1, 0.5, 0.2, 0.1, 0.1]])
    >>> values = hierarchy_metrics(torch.tensor([0.8, 0.7]), grades)
    >>> values["agreement"], round(values["probability_gap"], 4)
    (0.5, 0.2)
    """
    oa, kl = _tensor(oa_probability).double(), _tensor(kl_probabilities).double()
    values = {
        "agreement": decisions_agree(oa, kl).double().mean(),
        "probability_gap": hierarchy_gap(oa, kl).mean(),
    }
    return _as_floats(values, defined=_finite(oa, kl))


def _tensor(values: Array) -> Tensor:
    """On the CPU; NumPy arrays may be read-only or run backwards, which torch does not take."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _labelled(values: Tensor, labels: Tensor) -> Tensor:
    if labels.ndim != 1 or len(values) != len(labels):
        raise ValueError(f"labels: expected shape ({len(values)},), one a row, got {tuple(labels.shape)}")
    return values[labels != MISSING]


def _finite(*values: Tensor) -> bool:
    return all(bool(value.isfinite().all()) for value in values)


def _as_floats(values: dict[str, Tensor], defined: bool) -> dict[str, float]:
    return {name: float(value) if defined else float("nan") for name, value in values.items()}
