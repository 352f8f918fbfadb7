"""Several prediction tables of the same knees, put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oahier.hierarchy import COARSE, FINE, OA_FROM_GRADE, head_label
from oahier.metrics.rows import Rows, decisions
from oahier.metrics.weighted import Classes, Marks, Names
from oahier.statistics.predictions import HeadPredictions, Predictions
from oahier.types import MISSING

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Cohort:
    """The knees that all tables share, with everything that any of them knows about each."""

    knee: Names
    subject: Names
    subject_given: bool
    labels: Mapping[str, Classes]
    """By head, ``MISSING`` where unknown."""
    heads: Sequence[str]
    """Heads of any of the tables; OA and KL first."""

    def labelled(self, head: str) -> Marks:
        """``(knees,)`` True where the label of a head is known."""
        return np.asarray(self.labels[head] != MISSING)

    def tasks(self, oa_from_kl: bool = False) -> list[str]:
        """The heads; OA among them where it is taken from the grades."""
        implied = [COARSE] if oa_from_kl and FINE in self.heads else []
        return list(dict.fromkeys([*implied, *self.heads]))

    def rows(self, model: Predictions, head: str, oa_from_kl: bool = False) -> Rows | None:
        """A model's rows of labelled knees; ``None`` where it has no such head.

        Args:
            model: the model's predictions.
            head: name of the head.
            oa_from_kl: where there is no OA head, take the OA probability that the grades imply.
        """
        found = model.heads.get(head)
        if found is None and head == COARSE and oa_from_kl and FINE in model.heads:
            implied = model.heads[FINE].probabilities[:, OA_FROM_GRADE:].sum(axis=1)
            p = np.stack([1 - implied, implied], axis=1)
            found = HeadPredictions(p, decisions(p), implied)
        if found is None:
            return None
        return found.labelled_rows(self.labels[head], self.subject)

    def rows_of_all(
        self, models: Sequence[Predictions], head: str, oa_from_kl: bool = False
    ) -> list[Rows] | None:
        """Labelled rows, one table a model; ``None`` if one lacks the head, or without a labelled knee."""
        rows = [self.rows(model, head, oa_from_kl) for model in models]
        known = [one for one in rows if one is not None and len(one)]
        return known if len(known) == len(rows) else None

    def nothing_in_common(self, models: Sequence[Predictions], oa_from_kl: bool) -> str:
        """The message where no head and metric is left to compute."""
        heads = {model.source: " and ".join(map(head_label, model.heads)) for model in models}
        said = ", ".join(f"{source} has {found}" for source, found in heads.items())
        labels = ", ".join(
            f"{int(self.labelled(head).sum())} {head_label(head)} labels" for head in self.labels
        )
        advice = "" if oa_from_kl else "; --oa-from-kl (oa_from_kl=True) scores a KL head on OA"
        return f"expected a chosen metric of a head that all models have, but {said}, with {labels}{advice}"


def align(tables: Sequence[Predictions]) -> Cohort:
    """Check that all tables tell of the same knees; rows are in the same order then.

    A label or a subject that one table lacks is taken from another.

    Raises:
        ValueError: no table, different knees, a knee with different labels or subjects, or a head with
            different numbers of classes.
    """
    if not tables:
        raise ValueError("expected at least one prediction table, got none")
    first = tables[0]
    subject, subject_given = first.subject, first.subject_given
    heads = _heads(tables)
    labels = dict(first.labels)
    for table in tables[1:]:
        _same_knees(first, table)
        if table.subject_given and subject_given:
            _same(first, table, "subject", subject, table.subject, subject != table.subject)
        elif table.subject_given:
            subject, subject_given = table.subject, True
        for head, more in table.labels.items():
            known = labels.get(head, more)
            differ = (known != more) & (known != MISSING) & (more != MISSING)
            _same(first, table, f"label_{head}", known, more, differ)
            labels[head] = np.where(known == MISSING, more, known)
    return Cohort(first.knee, subject, subject_given, labels, heads)


def _heads(tables: Sequence[Predictions]) -> list[str]:
    owner: dict[str, Predictions] = {}
    for table in tables:
        for name, head in table.heads.items():
            known = owner.setdefault(name, table)
            if known.heads[name].classes != head.classes:
                raise ValueError(
                    f"{known.source} and {table.source}: head {name}: expected one number of classes, "
                    f"got {known.heads[name].classes} and {head.classes}"
                )
    return sorted(owner, key=lambda name: (COARSE, FINE).index(name) if name in (COARSE, FINE) else 2)


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
