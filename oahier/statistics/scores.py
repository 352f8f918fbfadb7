"""The measures by which models are compared: the rows of a task, and one function a measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from oahier.statistics import weighted
from oahier.statistics.intervals import Floats, Weights
from oahier.statistics.weighted import ratio, weighted_mean
from oahier.types import KL_GRADES

Task = Literal["OA", "KL"]
Statistic = Callable[[Weights], Floats]
"""Row weights ``(resamples, rows)`` to values ``(resamples,)``, NaN where undefined."""


@dataclass(frozen=True, eq=False)
class OARows:
    """What a model said about OA of labelled knees."""

    labels: npt.NDArray[np.bool_]
    probability: Floats
    decision: npt.NDArray[np.bool_]

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.decision == self.labels)

    def statistics(self) -> dict[str, Statistic]:
        """Measures by name, as functions of row weights."""
        return {name: partial(measure, rows=self) for name, measure in _OA.items()}


@dataclass(frozen=True, eq=False)
class KLRows:
    """What a model said about the KL grade of labelled knees."""

    labels: npt.NDArray[np.int64]
    probabilities: Floats
    decision: npt.NDArray[np.int64]
    severity: Floats

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.decision == self.labels)

    def statistics(self) -> dict[str, Statistic]:
        """Measures by name, as functions of row weights."""
        return {name: partial(measure, rows=self) for name, measure in _KL.items()}


def _oa_confusion(weights: Weights, rows: OARows) -> Floats:
    decision, labels = rows.decision.astype(np.int64), rows.labels.astype(np.int64)
    return weighted.weighted_confusion(weights, decision, labels, 2)


def _auc(weights: Weights, rows: OARows) -> Floats:
    return weighted.weighted_auc(weights, rows.probability, rows.labels)


def _average_precision(weights: Weights, rows: OARows) -> Floats:
    return weighted.weighted_average_precision(weights, rows.probability, rows.labels)


def _accuracy(weights: Weights, rows: OARows | KLRows) -> Floats:
    return weighted_mean(weights, rows.correct)


def _f1(weights: Weights, rows: OARows) -> Floats:
    return np.asarray(weighted.weighted_f1(_oa_confusion(weights, rows))[:, 1])


def _sensitivity(weights: Weights, rows: OARows) -> Floats:
    counts = _oa_confusion(weights, rows)[:, 1]
    return ratio(counts[:, 1], counts.sum(axis=1))


def _specificity(weights: Weights, rows: OARows) -> Floats:
    counts = _oa_confusion(weights, rows)[:, 0]
    return ratio(counts[:, 0], counts.sum(axis=1))


def _brier(weights: Weights, rows: OARows) -> Floats:
    return weighted_mean(weights, (rows.probability - rows.labels) ** 2)


def _macro_auc(weights: Weights, rows: KLRows) -> Floats:
    return weighted.weighted_macro_auc(weights, rows.probabilities, rows.labels)


def _macro_f1(weights: Weights, rows: KLRows) -> Floats:
    return weighted.weighted_macro_f1(_kl_confusion(weights, rows))


def _kl_confusion(weights: Weights, rows: KLRows) -> Floats:
    return weighted.weighted_confusion(weights, rows.decision, rows.labels, KL_GRADES)


def _qwk(weights: Weights, rows: KLRows) -> Floats:
    return weighted.weighted_qwk(weights, rows.decision, rows.labels)


def _mae(weights: Weights, rows: KLRows) -> Floats:
    return weighted_mean(weights, np.abs(rows.decision - rows.labels))


def _macro_mae(weights: Weights, rows: KLRows) -> Floats:
    return weighted.weighted_macro_error(_kl_confusion(weights, rows))


def _spearman(weights: Weights, rows: KLRows) -> Floats:
    return weighted.weighted_spearman(weights, rows.severity, rows.labels)


def _rps(weights: Weights, rows: KLRows) -> Floats:
    reached = rows.labels[:, None] <= np.arange(KL_GRADES)
    return weighted_mean(weights, ((rows.probabilities.cumsum(axis=1) - reached) ** 2).sum(axis=1))


def _within_one(weights: Weights, rows: KLRows) -> Floats:
    return weighted_mean(weights, np.abs(rows.decision - rows.labels) <= 1)


_OA: Mapping[str, Callable[..., Floats]] = {
    "auc": _auc,
    "accuracy": _accuracy,
    "f1": _f1,
    "average_precision": _average_precision,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "brier": _brier,
}
_KL: Mapping[str, Callable[..., Floats]] = {
    "macro_auc": _macro_auc,
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "qwk": _qwk,
    "mae": _mae,
    "macro_mae": _macro_mae,
    "accuracy_within_one": _within_one,
    "spearman": _spearman,
    "rps": _rps,
}
METRICS: Mapping[Task, tuple[str, ...]] = {"OA": tuple(_OA), "KL": tuple(_KL)}
"""Measures of each task in the order of the tables; the first three of each are those of the paper."""
