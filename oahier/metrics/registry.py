"""The metrics that the project knows: one list that callbacks, commands, studies and reports read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from oahier.metrics import agreement, coherence, probability, ranking
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Weights
from oahier.types import KL_GRADES

Kind = Literal["ordinal", "binary", "hierarchy"]
Better = Literal["larger", "smaller"]
Scale = Literal["identity", "logit", "fisher", "log"]


@dataclass(frozen=True)
class Metric:
    """A metric: a function of row weights and rows, with what tables say of it.

    ``function`` takes weights ``(resamples, rows)`` and :class:`~oahier.metrics.Rows` (of ``hierarchy``
    metrics: :class:`~oahier.metrics.LevelRows`) and returns ``(resamples,)`` values, NaN where undefined. So
    one function serves a sample (a row of ones) and thousands of bootstrap resamples.

    Args:
        name: in keys, files and options: letters, digits and underscores.
        function: the metric itself.
        label: in tables and figures; the name with spaces when empty.
        better: which values are better.
        kind: of the head: ``"ordinal"`` (more than two classes), ``"binary"``, or ``"hierarchy"`` for the
            agreement of two heads of one hierarchy.
        headline: it gets a 95 % interval in ``metrics.json``.
        compared: ``oahier compare`` and studies show it without being asked.
        share: it is a share of rows, which has an exact interval where all rows are the same.
        classes: only heads with so many classes have it; 0 for any number.
        scale: on which the interval of a model's value is symmetric: ``"logit"`` for values from 0 to 1,
            ``"fisher"`` for -1 to 1, ``"log"`` for values above 0.
        in_grades: an error that is at most the number of classes less one.

    Raises:
        ValueError: a name that is no identifier, or another ``better``, ``kind`` or ``scale``.

    >>> from oahier.metrics.weighted import weighted_mean
    >>> bias = Metric("bias", lambda weights, rows: weighted_mean(weights, rows.predicted - rows.labels))
    >>> bias.value(Rows.of([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]], [1, 0]))
    0.5
    """

    name: str
    function: Callable[[Weights, Any], Floats]
    label: str = ""
    better: Better = "larger"
    kind: Kind = "ordinal"
    headline: bool = False
    compared: bool = True
    share: bool = False
    classes: int = 0
    scale: Scale = "identity"
    in_grades: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"Metric: name must be letters, digits and underscores, got {self.name!r}")
        for argument, choices in (("better", Better), ("kind", Kind), ("scale", Scale)):
            if getattr(self, argument) not in get_args(choices):
                raise ValueError(
                    f"Metric {self.name!r}: {argument} must be one of {', '.join(get_args(choices))}, "
                    f"got {getattr(self, argument)!r}"
                )

    @property
    def title(self) -> str:
        """The label, or the name with spaces."""
        return self.label or self.name.replace("_", " ")

    def largest_difference(self, classes: int) -> float:
        """The largest difference that two values can have; infinite where values have no bound.

        >>> [find_metrics(name)[0].largest_difference(5) for name in ("accuracy", "qwk", "mae")]
        [1.0, 2.0, 4.0]
        """
        bounded = {"logit": 1.0, "fisher": 2.0}.get(self.scale, math.inf)
        return classes - 1.0 if self.in_grades else bounded

    def applies(self, rows: Rows) -> bool:
        """True if a head of these rows has the metric."""
        fits = self.classes in (0, rows.classes)
        return fits and self.kind == ("binary" if rows.binary else "ordinal")

    def __call__(self, weights: Weights, rows: Any) -> Floats:
        """``(resamples,)`` values; NaN without rows or where a probability is not finite.

        Raises:
            ValueError: the function returns another shape.
        """
        if not rows.defined:
            return np.full(len(weights), np.nan)
        values = np.asarray(self.function(weights, rows), dtype=np.float64)
        if values.shape != (len(weights),):
            raise ValueError(
                f"metric {self.name!r}: expected {len(weights)} values, one a row of weights, "
                f"got shape {values.shape}"
            )
        return values

    def value(self, rows: Any) -> float:
        """The value of the sample."""
        return float(self(np.ones((1, len(rows))), rows)[0])


_BUILT_IN = (
    Metric("auc", ranking.auc, "AUC", kind="binary", headline=True, scale="logit"),
    Metric("accuracy", agreement.accuracy, kind="binary", headline=True, share=True, scale="logit"),
    Metric("f1", agreement.f1, "F1", kind="binary", scale="logit"),
    Metric("average_precision", ranking.average_precision, kind="binary", scale="logit"),
    Metric("sensitivity", agreement.sensitivity, kind="binary", scale="logit"),
    Metric("specificity", agreement.specificity, kind="binary", scale="logit"),
    Metric(
        "brier", probability.brier_score, "Brier", "smaller", kind="binary", headline=True, scale="log",
        in_grades=True,
    ),
    Metric("macro_auc", ranking.macro_auc, "macro AUC", headline=True, scale="logit"),
    Metric("accuracy", agreement.accuracy, headline=True, share=True, scale="logit"),
    Metric("macro_f1", agreement.macro_f1, "macro F1", scale="logit"),
    Metric("qwk", agreement.quadratic_weighted_kappa, "QWK", headline=True, scale="fisher"),
    Metric(
        "mae", agreement.mean_absolute_error, "MAE", "smaller", headline=True, scale="log", in_grades=True
    ),
    Metric(
        "macro_mae", agreement.macro_mean_absolute_error, "macro MAE", "smaller", scale="log", in_grades=True
    ),
    Metric(
        "accuracy_within_one", agreement.accuracy_within_one, "within one grade", share=True, scale="logit"
    ),
    Metric("spearman", ranking.spearman, "Spearman", scale="fisher"),
    Metric("rps", probability.ranked_probability_score, "RPS", "smaller", scale="log", in_grades=True),
    Metric("linear_kappa", agreement.linear_weighted_kappa, compared=False, scale="fisher"),
    Metric("ece", probability.calibration_error, "calibration error", "smaller", compared=False),
    Metric(
        "severe_auc", ranking.severe_auc, "AUC of grade 3 and more", headline=True, compared=False,
        classes=KL_GRADES, scale="logit",
    ),
    Metric("agreement", coherence.agreement, kind="hierarchy"),
    Metric("probability_gap", coherence.probability_gap, better="smaller", kind="hierarchy"),
)  # fmt: skip
_registry: dict[tuple[Kind, str], Metric] = {(metric.kind, metric.name): metric for metric in _BUILT_IN}


def register(metric: Metric) -> Metric:
    """Add a metric to those that every callback, comparison, study table and report shows.

    Raises:
        ValueError: the name is taken among metrics of its kind.
    """
    if (metric.kind, metric.name) in _registry:
        raise ValueError(f"metric {metric.name!r}: there is a metric of this name for {metric.kind} heads")
    _registry[metric.kind, metric.name] = metric
    return metric


def registered(kind: Kind | None = None) -> tuple[Metric, ...]:
    """All metrics, or those of a kind, in the order of the tables.

    >>> [metric.name for metric in registered("hierarchy")]
    ['agreement', 'probability_gap']
    """
    return tuple(metric for metric in _registry.values() if kind in (None, metric.kind))


def find_metrics(name: str) -> tuple[Metric, ...]:
    """The metrics of a name, of every kind; their labels and directions are those of the first.

    >>> [metric.title for metric in find_metrics("qwk")], find_metrics("unheard_of")
    (['QWK'], ())
    """
    return tuple(metric for metric in _registry.values() if metric.name == name)


def chosen_metrics(metrics: Sequence[str | Metric] | None) -> list[Metric]:
    """Registered metrics in the order of the tables, then a caller's own.

    Raises:
        ValueError: a name that is not registered.
    """
    known = [metric for metric in registered() if metric.kind != "hierarchy"]
    if metrics is None:
        return [metric for metric in known if metric.compared]
    names = dict.fromkeys(metric.name for metric in known)
    for name in metrics:
        if isinstance(name, str) and name not in names:
            raise ValueError(f"metrics: expected some of {', '.join(names)}, got {name!r}")
    own = [metric for metric in metrics if isinstance(metric, Metric) and metric not in known]
    return [metric for metric in known if metric in metrics or metric.name in metrics] + own


def with_metrics(further: Sequence[Metric]) -> tuple[Metric, ...]:
    """The registered metrics and further ones.

    Raises:
        TypeError: something that is no :class:`Metric`.
        ValueError: two metrics of one kind share a name.
    """
    chosen = dict(_registry)
    for metric in further:
        if not isinstance(metric, Metric):
            raise TypeError(f"metrics: expected instances of oahier.metrics.Metric, got {metric!r}")
        if chosen.setdefault((metric.kind, metric.name), metric) is not metric:
            raise ValueError(f"metrics: there is a metric {metric.name!r} for {metric.kind} heads already")
    return tuple(chosen.values())
