"""Labels of one head and a model's probabilities for them, checked once for every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.metrics.weighted import Classes, Confusion, Floats, Marks, Ranked
from oahier.types import MISSING

SUM_TOLERANCE = 0.02
"""How far probabilities may sum from one: what half precision rounds off passes."""

_BELOW = 1e-6


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled knees of one head; make it with :meth:`of`, which checks the values."""

    labels: Classes
    """``(rows,)`` classes from 0 on."""
    probabilities: Floats
    """``(rows, classes)``."""
    predicted: Classes
    """``(rows,)`` decisions; ``MISSING`` where a probability is not finite."""
    severity: Floats
    """``(rows,)`` score that rises with the class."""
    subject: npt.NDArray[np.character]
    """``(rows,)`` who each knee belongs to."""

    @classmethod
    def of(
        cls,
        probabilities: Any,
        labels: Any,
        *,
        severity: Any = None,
        predicted: Any = None,
        subject: Sequence[str] | npt.NDArray[np.character] | None = None,
    ) -> Rows:
        r"""The rows that have a label.

        Arguments are NumPy arrays, tensors on any device, or lists.

        Args:
            probabilities: ``(rows, classes)``, or ``(rows,)`` of the positive of two classes.
            labels: ``(rows,)`` classes; rows with ``MISSING`` are left out.
            severity: ``(rows,)``; the expected class :math:`\sum_k k\,P(k)` when not given.
            predicted: ``(rows,)`` decisions; those of :func:`decisions` when not given.
            subject: ``(rows,)``; every row is a subject of its own when not given.

        Raises:
            ValueError: shapes that do not fit, labels or decisions that are no classes, or finite
                probabilities that are negative, above one or do not sum to one.

        >>> rows = Rows.of([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.2, 0.4, 0.4]], [0, 1, -1])
        >>> rows.predicted.tolist(), rows.severity.round(1).tolist()
        ([0, 2], [0.4, 1.7])
        """
        p = np.asarray(as_array(probabilities), dtype=np.float64)
        p = np.where(np.isfinite(p), p, np.nan)
        p = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
        if p.ndim != 2 or p.shape[1] < 2:
            raise ValueError(
                f"probabilities: expected shape (rows, grades) with at least two grades, got {p.shape}"
            )
        y = _classes("labels", as_array(labels), p.shape)
        known = y != MISSING
        p = _checked(p[known])
        score = p @ np.arange(p.shape[1]) if severity is None else _column("severity", severity, known)
        decided = decisions(p)
        if predicted is not None:
            decided = _classes("predicted", as_array(predicted), (len(y), p.shape[1]))[known]
        names = np.arange(len(y)).astype(str) if subject is None else _names(subject, len(y))
        return cls(y[known], p, decided, score, names[known])

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: Marks) -> Rows:
        """Some of the rows."""
        return Rows(
            self.labels[chosen], self.probabilities[chosen], self.predicted[chosen], self.severity[chosen],
            self.subject[chosen],
        )  # fmt: skip

    @property
    def classes(self) -> int:
        """Number of classes, present or not."""
        return int(self.probabilities.shape[1])

    @property
    def binary(self) -> bool:
        """True for two classes."""
        return self.classes == 2

    @cached_property
    def defined(self) -> bool:
        """False without rows, or where a value is not finite (as after a diverged training step)."""
        return len(self) > 0 and bool(
            np.isfinite(self.probabilities).all() and np.isfinite(self.severity).all()
        )

    @property
    def positive(self) -> Marks:
        """``(rows,)`` True where the label is 1."""
        return np.asarray(self.labels == 1)

    @property
    def correct(self) -> Marks:
        """``(rows,)`` True where the decision is the label."""
        return np.asarray(self.predicted == self.labels)

    @property
    def distance(self) -> Classes:
        """``(rows,)`` classes between decision and label."""
        return np.asarray(np.abs(self.predicted - self.labels))

    @cached_property
    def confusion(self) -> Confusion:
        """Cells of the confusion matrix, true by predicted class."""
        return Confusion(self.predicted, self.labels, self.classes)

    @cached_property
    def ranked(self) -> tuple[Ranked, ...]:
        """Rows in the order of the probability of each class."""
        return tuple(Ranked(column) for column in self.probabilities.T)

    @cached_property
    def ranked_severity(self) -> Ranked:
        """Rows in the order of severity."""
        return Ranked(self.severity)


def decisions(probabilities: Floats) -> Classes:
    """The predicted class of each row.

    The most probable class; of two classes the second where its probability is 0.5 or more.

    Returns:
        ``(rows,)``; ``MISSING`` where a probability is not finite.

    >>> decisions(np.array([[0.5, 0.5], [0.6, 0.4], [np.nan, np.nan]])).tolist()
    [1, 0, -1]
    """
    if probabilities.shape[1] == 2:
        chosen = (probabilities[:, 1] >= 0.5).astype(np.int64)
    else:
        chosen = probabilities.argmax(axis=1)
    return np.where(np.isfinite(probabilities).all(axis=1), chosen, MISSING)


def as_array(values: Any) -> npt.NDArray[Any]:
    """NumPy's view of an array, a list or a tensor; half precision becomes double."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
        return np.asarray(values.numpy())
    return np.asarray(values)


def _column(name: str, values: Any, known: Marks) -> Floats:
    column = np.asarray(as_array(values), dtype=np.float64)
    if column.shape != known.shape:
        raise ValueError(f"{name}: expected shape {known.shape}, one a row, got {column.shape}")
    return column[known]


def _names(values: Sequence[str] | npt.NDArray[np.character], rows: int) -> npt.NDArray[np.character]:
    names = np.asarray(values, dtype=str)
    if names.shape != (rows,):
        raise ValueError(f"subject: expected shape ({rows},), one a row, got {names.shape}")
    return names


def _classes(name: str, values: npt.NDArray[Any], shape: tuple[int, ...]) -> Classes:
    rows, classes = shape
    if values.shape != (rows,):
        raise ValueError(f"{name}: expected shape ({rows},), one a row, got {values.shape}")
    if values.dtype.kind not in "iub":
        numbers = values.astype(np.float64)
        broken = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.round(numbers)))
        if len(broken):
            raise ValueError(
                f"{name}: expected whole numbers 0 to {classes - 1} ({MISSING} where unknown), "
                f"got {values[broken[0]]} in row {broken[0]}"
            )
    whole = values.astype(np.int64)
    wrong = whole[(whole != MISSING) & ((whole < 0) | (whole >= classes))]
    if len(wrong):
        raise ValueError(
            f"{name}: expected classes 0 to {classes - 1}, got {sorted(set(wrong.tolist()))}; "
            f"give {MISSING} where the class is unknown"
        )
    return whole


def _checked(probabilities: Floats) -> Floats:
    low, high, total = probabilities.min(axis=1), probabilities.max(axis=1), probabilities.sum(axis=1)
    outside = (low < -_BELOW) | (high > 1 + SUM_TOLERANCE)
    at = np.flatnonzero(np.isfinite(total) & (outside | ~(np.abs(total - 1) <= SUM_TOLERANCE)))
    if len(at):
        raise ValueError(
            f"probabilities: expected values from 0 to 1 that sum to 1, got {probabilities[at[0]].tolist()} "
            f"in labelled row {at[0]}; {len(at)} rows are wrong (logits? percentages?)"
        )
    return probabilities
