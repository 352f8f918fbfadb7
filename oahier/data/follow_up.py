"""Targets that look ahead: what happens to a knee after the visit of its MRI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from oahier.data.manifest.manifest import Manifest
from oahier.data.manifest.targets import classes_of, is_known
from oahier.hierarchy import FINE
from oahier.metrics.weighted import Floats
from oahier.problems import ManifestError, Problem
from oahier.visits import Visits, event_months, event_within


def with_follow_up(
    manifest: Manifest, *, column: str = FINE, rise: int | float = 1, within: Sequence[int] = (24, 48),
    months: str = "month",
) -> Manifest:  # fmt: skip
    """A copy with a target column for what happens after each visit.

    ``event_months`` is the signed time to the event (:func:`oahier.visits.event_months`), which
    :class:`~oahier.heads.HazardHead` learns from; ``event_within_24`` and the like are 1 or 0, empty where
    follow-up is too short (:func:`oahier.visits.event_within`), for a :class:`~oahier.BinaryHead`. Visits at
    the highest class of a level are not at risk, and empty.

    Args:
        manifest: with a row a visit.
        column: the event is a rise of this one.
        rise: at least by how much.
        within: months of the second kind of column.
        months: column of the months of each visit.

    Raises:
        ManifestError: no column of months, no knee with two visits, or nothing later that is known.
    """
    visits, values = visits_of(manifest, months), known_values(manifest, column)
    classes = classes_of(column)
    risk: dict[str, Any] = {"rise": rise, "highest": classes and classes - 1}
    signed = event_months(visits, values, **risk)
    if not np.isfinite(signed).any():
        message = "no knee has a value at two visits, so nothing is known of what happens after one"
        raise ManifestError(manifest.name, [Problem(message, column=column)])
    found = {f"event_within_{count}": event_within(visits, values, count, **risk) for count in within}
    return replace(manifest, table=manifest.table.assign(event_months=signed, **found))


def visits_of(manifest: Manifest, months: str = "month") -> Visits:
    """The visits of a manifest.

    Raises:
        ManifestError: no column of months, cells that are none, or no knee with two visits.
    """
    try:
        visits = Visits.of(manifest.table, months=months, source="manifest")
    except ValueError as error:
        raise ManifestError(manifest.name, [Problem(str(error))]) from error
    if not len(visits.pairs()):
        message = f"no knee (subject and side) has two visits with known {months!r}; expected follow-up"
        raise ManifestError(manifest.name, [Problem(message)])
    return visits


def known_values(manifest: Manifest, column: str) -> Floats:
    """A target column as float64, NaN where unknown."""
    labels = manifest.labels(column)
    return np.where(is_known(labels), labels.astype(np.float64), np.nan)
