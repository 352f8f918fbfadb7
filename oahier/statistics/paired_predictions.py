"""Several prediction tables of the same knees, put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.hierarchy import OA_FROM_GRADE
from oahier.statistics.predictions import Classes, Names, Predictions
from oahier.statistics.scores import KLRows, OARows, Task
from oahier.types import MISSING

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Cohort:
    """The knees that all tables share, with everything that any of them knows about each."""

    knee: Names
    subject: Names
    subject_given: bool
    label_kl: Classes
    label_oa: Classes

    def labelled(self, task: Task) -> npt.NDArray[np.bool_]:
        """``(knees,)`` True where the label of a task is known."""
        return np.asarray((self.label_oa if task == "OA" else self.label_kl) != MISSING)

    def rows(self, model: Predictions, task: Task, oa_from_kl: bool) -> OARows | KLRows | None:
        """A model's rows of labelled knees; ``None`` where it has no head for the task."""
        known = self.labelled(task)
        if task == "KL":
            if model.prob_kl is None or model.pred_kl is None or model.severity_kl is None:
                return None
            return KLRows(
                self.label_kl[known], model.prob_kl[known], model.pred_kl[known], model.severity_kl[known]
            )
        labels = self.label_oa[known] == 1
        if model.prob_oa is not None and model.pred_oa is not None:
            return OARows(labels, model.prob_oa[known], model.pred_oa[known] == 1)
        if model.prob_kl is None or not oa_from_kl:
            return None
        implied = model.prob_kl[known, OA_FROM_GRADE:].sum(axis=1)
        return OARows(labels, implied, implied >= 0.5)


def align(tables: Sequence[Predictions]) -> Cohort:
    """Check that all tables tell of the same knees; rows are in the same order then.

    A label or a subject that one table lacks is taken from another.

    Raises:
        ValueError: no table, different knees, or a knee with different labels or subjects.
    """
    if not tables:
        raise ValueError("expected at least one prediction table, got none")
    first = tables[0]
    subject, subject_given = first.subject, first.subject_given
    label_kl, label_oa = first.label_kl, first.label_oa
    for table in tables[1:]:
        _same_knees(first, table)
        if table.subject_given and subject_given:
            _same(first, table, "subject", subject, table.subject, subject != table.subject)
        elif table.subject_given:
            subject, subject_given = table.subject, True
        label_kl = _merged(first, table, "label_kl", label_kl, table.label_kl)
        label_oa = _merged(first, table, "label_oa", label_oa, table.label_oa)
    return Cohort(first.knee, subject, subject_given, label_kl, label_oa)


def _merged(first: Predictions, other: Predictions, column: str, known: Classes, more: Classes) -> Classes:
    _same(first, other, column, known, more, (known != more) & (known != MISSING) & (more != MISSING))
    return np.where(known == MISSING, more, known)


def _same(
    first: Predictions,
    other: Predictions,
    column: str,
    values: npt.NDArray[np.generic],
    others: npt.NDArray[np.generic],
    differ: npt.NDArray[np.bool_],
) -> None:
    at = np.flatnonzero(differ)
    if len(at):
        row = int(at[0])
        raise ValueError(
            f"{first.source} and {other.source}: column {column}, knee {first.knee[row]}: expected one "
            f"value, got {values[row]} and {others[row]}; {len(at)} knees disagree"
        )


def _same_knees(first: Predictions, other: Predictions) -> None:
    if np.array_equal(first.knee, other.knee):
        return
    only_first = sorted(set(first.knee.tolist()) - set(other.knee.tolist()))
    only_other = sorted(set(other.knee.tolist()) - set(first.knee.tolist()))
    raise ValueError(
        f"{first.source} and {other.source}: expected the same knees; {len(only_first)} only in the first"
        f"{_listed(only_first)}, {len(only_other)} only in the second{_listed(only_other)}"
    )


def _listed(knees: Sequence[str]) -> str:
    if not knees:
        return ""
    return f" ({', '.join(knees[:_SHOWN])}{', ...' if len(knees) > _SHOWN else ''})"
