"""Rows of the table that says how a score changes with time."""

from __future__ import annotations

from dataclasses import dataclass

from oahier.clinical.calibration import NAN, Estimate


@dataclass(frozen=True)
class Finding:
    """One number with its interval; NaN where it is undefined, and then the note says why."""

    quantity: str
    of: str
    """Column that it was computed of, or what is compared."""
    estimate: Estimate
    knees: int
    subjects: int
    events: int | None = None
    """Knees with the event, where there is one."""
    p_value: float = NAN
    note: str = ""
