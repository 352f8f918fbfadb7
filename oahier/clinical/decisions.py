"""Calibration and decision thresholds of heads, fitted on validation knees and applied to others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oahier.clinical.calibrators import Calibrator, Temperature
from oahier.clinical.thresholds import ThresholdRule, Youden
from oahier.files import write_atomically
from oahier.metrics.rows import Rows, decisions
from oahier.metrics.weighted import Classes, Floats
from oahier.specs import build, describe, is_spec
from oahier.statistics.predictions import HeadPredictions, Predictions

HALF = 0.5
FEWEST = 10
"""Labelled knees below which nothing is fitted."""
CAUTIOUS = 50
"""Labelled knees below which what is fitted comes with a caution."""


@dataclass(frozen=True, eq=False)
class HeadDecision:
    """What is done with the probabilities of one head."""

    calibrator: Calibrator | None
    """``None`` leaves the probabilities."""
    threshold: float
    """Two classes: P(class 1) from which a knee is positive, after calibration."""
    rule: str
    """How the threshold was chosen; empty where it is 0.5."""
    knees: int
    """Labelled knees that it was fitted on."""
    note: str = ""
    """Why something was not fitted."""

    @classmethod
    def of(cls, decisions: Decisions | None, head: str) -> HeadDecision:
        """What is done with a head; nothing where it is not named."""
        found = None if decisions is None else decisions.heads.get(head)
        return cls(None, HALF, "", 0) if found is None else found

    def apply(self, probabilities: Floats) -> tuple[Floats, Classes]:
        """Calibrated ``(rows, classes)`` probabilities and ``(rows,)`` decisions."""
        p = probabilities if self.calibrator is None else self.calibrator.apply(probabilities)
        decided = decisions(p)
        if p.shape[1] == 2:
            decided = np.where(np.isfinite(p).all(axis=1), (p[:, 1] >= self.threshold), decided)
        return p, decided.astype(np.int64)

    def describe(self) -> str:
        """What is done, in a few words."""
        calibrated = "probabilities as they are" if self.calibrator is None else self.calibrator.describe()
        chosen = f", threshold {self.threshold:.3g} ({self.rule})" if self.rule else ""
        note = f"; {self.note}" if self.note else ""
        fitted = "fitted" if self.calibrator is not None or self.rule else "nothing fitted"
        return f"{calibrated}{chosen}, {fitted} on {self.knees} knees{note}"


@dataclass(frozen=True, eq=False)
class Decisions:
    """Calibration and threshold of each head, with the subjects that they were fitted on.

    Serial form: :meth:`to_dict`, of strings, numbers and lists, as JSON (:meth:`write`) and in checkpoints.
    """

    heads: Mapping[str, HeadDecision]
    fitted_on: str
    """Where the validation knees are from."""
    subjects: frozenset[str]
    """Digests of the subjects that it was fitted on (not their names)."""

    @classmethod
    def fit(
        cls,
        heads: Mapping[str, Rows],
        *,
        calibrator: Calibrator | None = None,
        threshold: ThresholdRule | None = None,
        fitted_on: str = "validation",
    ) -> Decisions:
        """Fit on labelled knees that will not be evaluated.

        Args:
            heads: labelled validation knees by head.
            calibrator: kind of calibration; :class:`Temperature` when not given.
            threshold: rule for heads of two classes; :class:`Youden` when not given.
            fitted_on: where the knees are from, for messages.

        Returns:
            Heads of fewer than ten labelled knees, of knees of one class, or that diverged, are left as they
            are, with a note; below fifty knees a note says that there are few.
        """
        kind = Temperature() if calibrator is None else calibrator
        rule = Youden() if threshold is None else threshold
        made = {name: _fitted(rows, kind, rule) for name, rows in heads.items()}
        used = {_digest(subject) for rows in heads.values() for subject in np.unique(rows.subject).tolist()}
        return cls(made, fitted_on, frozenset(used))

    def apply(self, predictions: Predictions) -> Predictions:
        """Predictions with calibrated probabilities, decisions by the thresholds, and expected grades.

        Raises:
            ValueError: a subject that it was fitted on, or no head that it knows.
        """
        self.refuse(predictions.subject.tolist(), predictions.source)
        if not set(self.heads) & set(predictions.heads):
            raise ValueError(
                f"{predictions.source}: expected a head of the calibration ({', '.join(self.heads)}), "
                f"got {', '.join(predictions.heads)}"
            )
        return replace(
            predictions,
            heads={
                name: _applied(self.heads[name], head) if name in self.heads else head
                for name, head in predictions.heads.items()
            },
        )

    def fitted_subjects(self, subjects: Sequence[str]) -> list[str]:
        """Those of some subjects that it was fitted on, sorted."""
        return sorted(subject for subject in set(subjects) if _digest(subject) in self.subjects)

    def refuse(self, subjects: Sequence[str], source: str) -> None:
        """Refuse subjects that it was fitted on.

        Raises:
            ValueError: there are some.
        """
        shared = self.fitted_subjects(subjects)
        if shared:
            named = ", ".join(shared[:3]) + ", ..." * (len(shared) > 3)
            raise ValueError(
                f"{source}: calibration and thresholds were fitted on {len(shared)} of its "
                f"{len(set(subjects))} subjects ({named}); "
                "evaluate on subjects that they were not fitted on"
            )

    def describe(self) -> list[str]:
        """A line a head."""
        return [f"{name}: {head.describe()} ({self.fitted_on})" for name, head in self.heads.items()]

    def to_dict(self) -> dict[str, Any]:
        """The serial form."""
        return {
            "version": 1,
            "fitted_on": self.fitted_on,
            "subjects": sorted(self.subjects),
            "heads": {
                name: {
                    "calibrator": describe(head.calibrator),
                    "threshold": head.threshold,
                    "rule": head.rule,
                    "knees": head.knees,
                    "note": head.note,
                }
                for name, head in self.heads.items()
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "decisions") -> Decisions:
        """The object of a serial form.

        Raises:
            ValueError: it lacks something; the message names the source.
        """
        try:
            heads = {str(name): _read(item) for name, item in content["heads"].items()}
            return cls(heads, str(content["fitted_on"]), frozenset(map(str, content["subjects"])))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{source}: expected decisions as oahier writes them (version 1), got {error!r}"
            ) from error

    def write(self, path: Path | str) -> Path:
        """Write the serial form as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        return write_atomically(Path(path), json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path | str) -> Decisions:
        """Read what :meth:`write` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: expected decisions as JSON, got {error}") from error
        return cls.from_dict(content, str(path))


def _fitted(rows: Rows, kind: Calibrator, rule: ThresholdRule) -> HeadDecision:
    if not rows.defined or len(np.unique(rows.labels)) < 2:
        why = "labels of one class only" if rows.defined else "no knee with a label and finite probabilities"
        return HeadDecision(None, HALF, "", len(rows), why)
    if len(rows) < FEWEST:
        return HeadDecision(None, HALF, "", len(rows), f"too few knees, {FEWEST} are needed")
    note = "few knees: expect other values on others" if len(rows) < CAUTIOUS else ""
    fitted = kind.fit(rows.probabilities, rows.labels)
    if not rows.binary:
        return HeadDecision(fitted, HALF, "", len(rows), note)
    threshold = rule.choose(fitted.apply(rows.probabilities)[:, 1], rows.positive)
    return HeadDecision(fitted, threshold, rule.describe(), len(rows), note)


def _applied(rule: HeadDecision, head: HeadPredictions) -> HeadPredictions:
    p, predicted = rule.apply(head.probabilities)
    return HeadPredictions(p, predicted, p @ np.arange(p.shape[1]))


def _read(item: Mapping[str, Any]) -> HeadDecision:
    calibrator, threshold = item["calibrator"], float(item["threshold"])
    if not math.isfinite(threshold):
        raise TypeError(f"threshold {threshold}")
    made = build(calibrator, Calibrator) if is_spec(calibrator) else None
    return HeadDecision(made, threshold, str(item["rule"]), int(item["knees"]), str(item["note"]))


def _digest(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:16]
