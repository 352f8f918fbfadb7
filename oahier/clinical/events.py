"""Yes-or-no events that predictions give a probability of: class 1 of two, and each grade or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oahier.hierarchy import head_label
from oahier.metrics.rows import Rows
from oahier.metrics.weighted import Floats, Marks, Weights
from oahier.statistics.intervals import subject_weights
from oahier.statistics.predictions import Predictions
from oahier.types import MISSING


@dataclass(frozen=True, eq=False)
class Event:
    """Labelled knees with the probability of an event, and whether it happened."""

    name: str
    """``OA``, ``KL 2 or more``."""
    head: str
    probability: Floats
    """``(knees,)``."""
    happened: Marks
    decided: Marks
    """``(knees,)`` what the model decided."""
    subject: npt.NDArray[np.character]
    knee: npt.NDArray[np.character]

    @classmethod
    def of(
        cls, probability: Any, happened: Any, *, subject: Sequence[str] | None = None, name: str = "event"
    ) -> Event:
        """An event of arrays; decisions are those at 0.5.

        Raises:
            ValueError: probabilities or labels that are none.
        """
        rows = Rows.of(probability, happened, subject=subject)
        knees = np.arange(len(rows)).astype(str)
        return cls(
            name, name, rows.probabilities[:, 1], rows.positive, rows.predicted == 1, rows.subject, knees
        )

    def __len__(self) -> int:
        return len(self.happened)

    @property
    def defined(self) -> bool:
        """True where there are knees with and without the event, and finite probabilities."""
        return (
            len(self) > 0
            and bool(np.isfinite(self.probability).all())
            and 0 < int(self.happened.sum()) < len(self)
        )

    def resampled(self, resamples: int, seed: int) -> Weights | None:
        """Row weights of resampled subjects; ``None`` where none are wanted or a subject is alone."""
        if not resamples or len(np.unique(self.subject)) < 2:
            return None
        return subject_weights(self.subject.tolist(), resamples, seed)

    def select(self, chosen: npt.NDArray[Any]) -> Event:
        """Some of the knees, by marks or positions."""
        return Event(
            self.name, self.head, self.probability[chosen], self.happened[chosen], self.decided[chosen],
            self.subject[chosen], self.knee[chosen],
        )  # fmt: skip


def events_of(predictions: Predictions) -> list[Event]:
    """The events of every labelled head: class 1 of two, or each grade from 1 on "or more".

    >>> from oahier.statistics import parse_predictions
    >>> kl = {f"prob_kl_{grade}": [0.2, 0.2] for grade in range(5)}
    >>> found = events_of(parse_predictions({"knee": ["a", "b"], "label_kl": [1, 3], **kl}))
    >>> [event.name for event in found][:2], found[1].probability.round(1).tolist()
    (['KL 1 or more', 'KL 2 or more'], [0.6, 0.6])
    """
    found = []
    for name, head in predictions.heads.items():
        labels = predictions.labels[name]
        known = labels != MISSING
        for grade in range(1, head.classes) if known.any() else ():
            two = head.classes == 2
            found.append(
                Event(
                    head_label(name) if two else f"{head_label(name)} {grade} or more",
                    name,
                    np.clip(head.probabilities[known, grade:].sum(axis=1), 0, 1),
                    labels[known] >= grade,
                    head.predicted[known] >= grade,
                    predictions.subject[known],
                    predictions.knee[known],
                )
            )
    return found
