"""Results of a clinical evaluation, as its page and tables show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oahier.clinical import Calibration, DecisionCurve, Decisions, Estimate, Event, OperatingPoint, Subgroup
from oahier.reporting.checklist import Item


@dataclass(frozen=True, eq=False)
class EventResult:
    """One event with one kind of probabilities."""

    event: Event
    variant: str
    auc: Estimate
    calibration: Calibration
    point: OperatingPoint
    curve: DecisionCurve


@dataclass(frozen=True, eq=False)
class ClinicalReport:
    """All that the page shows."""

    source: str
    knees: int
    subjects: int
    subject_given: bool
    specificity: float
    results: Sequence[EventResult]
    subgroups: Sequence[Subgroup]
    decisions: Decisions | None
    left_out: Sequence[str]
    """Covariates that make no subgroups, with the reason."""
    items: Sequence[Item]
