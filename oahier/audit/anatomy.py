"""Checks that a label map can be that of its knee: right way up, on its side, on the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from oahier.audit.findings import LABEL_NAMES, finding
from oahier.problems import Problem, Severity
from oahier.types import CARTILAGE_LABELS

APART = 5.0
"""Millimetres between the centres of medial and lateral cartilage from which on a side can be told."""

_DARK = 0.25
_OFF = 0.9
_ALL = 3


def anatomy_problems(knees: pd.DataFrame) -> Iterator[Problem]:
    """Look at every label map.

    Args:
        knees: the manifest's table with a column ``facts``.
    """
    read = knees[knees["facts"].map(lambda facts: "volume" in facts)]
    for index, row in read.iterrows():
        for severity, message in _map_faults(row["facts"]):
            yield finding(read, index, "cartilage", message, "label map", severity)
    yield from _sides(read)


def side_of(facts: Mapping[str, Any]) -> str:
    """The side that a label map shows, ``""`` if it does not tell: medial is towards the other knee.

    >>> side_of({"centre": {"4": [-20.0, 0.0, 0.0], "5": [20.0, 0.0, 0.0]}})
    'right'
    """
    centre = facts.get("centre", {})
    if "4" not in centre or "5" not in centre:
        return ""
    medial_from_lateral = centre["4"][0] - centre["5"][0]
    if abs(medial_from_lateral) < APART:
        return ""
    return "right" if medial_from_lateral < 0 else "left"


def _map_faults(facts: Mapping[str, Any]) -> Iterator[tuple[Severity, str]]:
    centre, border = facts["centre"], set(facts["border"])
    for upper, lower, words in (
        ("2", "4", "femoral cartilage lies below medial tibial cartilage"),
        ("2", "5", "femoral cartilage lies below lateral tibial cartilage"),
        ("1", "3", "the femur lies below the tibia"),
    ):
        if upper in centre and lower in centre and centre[upper][2] < centre[lower][2]:
            yield "error", f"upside down: {words}; is the label map flipped, or are its ids exchanged?"
            break
    if facts["dark"] > _DARK:
        severity: Severity = "error" if facts["dark"] > _OFF else "warning"
        yield (
            severity,
            f"{facts['dark']:.0%} of the cartilage lies on background: is it the map of this image?",
        )
    if cut := border & set(CARTILAGE_LABELS):
        which = " and ".join(LABEL_NAMES[label].removesuffix(" cartilage") for label in sorted(cut))
        yield "note", f"{which} cartilage touches the edge of the volume: is it cut off?"


def _sides(read: pd.DataFrame) -> Iterator[Problem]:
    """Sides of the table against those of the maps; a whole side that contradicts was mirrored before."""
    shown = read["facts"].map(side_of)
    told = read[(shown != "") & (read["side"] != "")]
    wrong = told[told["side"] != shown[told.index]]
    for side, other in (("left", "right"), ("right", "left")):
        rows = wrong[wrong["side"] == side]
        of_side = told[told["side"] == side]
        whole = len(rows) == len(of_side) and len(rows) >= _ALL and not (wrong["side"] == other).any()
        if whole and (told["side"] == other).any():
            message = (
                f"the label maps of all {len(rows)} {side} knees show {other} ones: if they were mirrored "
                "already, leave mirror_left off"
            )
            yield finding(rows, rows.index[0], "side", message, "sides")
            continue
        for index in rows.index:
            message = (
                f"the table says {side}, the label map shows a {other} knee: a wrong side, medial and "
                "lateral exchanged, or a mirrored image"
            )
            yield finding(rows, index, "side", message, "sides", "error")
