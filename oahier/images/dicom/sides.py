"""The side of the knee that a DICOM header tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Side = str
"""``"left"``, ``"right"`` or ``""`` where the header does not say."""


_OF_BOTH_KNEES = "StudyDescription"


def told_side(elements: Mapping[str, str], texts: Mapping[str, str]) -> tuple[Side, str]:
    """The side that a header tells, the first of two, and the fault of telling two.

    A study may hold both knees, so its description counts only where nothing else names a side.

    Args:
        elements: values of the elements that hold ``L`` or ``R``, by name.
        texts: values of the elements in which words may name a side, by name.

    >>> told_side({"Laterality": "R"}, {"SeriesDescription": "dess", "ProtocolName": "left and right"})
    ('right', '')
    >>> told_side({"Laterality": "R"}, {"SeriesDescription": "dess LEFT"})
    ('right', 'its header says two sides: right (Laterality), left (SeriesDescription)')
    >>> told_side({"Laterality": "L"}, {"StudyDescription": "MRI right knee"})
    ('left', '')
    """
    told: dict[Side, list[str]] = {}
    sides = {name: {"L": "left", "R": "right"}.get(value[:1].upper(), "") for name, value in elements.items()}
    for name, side in (sides | {name: side_in_words([text]) for name, text in texts.items()}).items():
        if side and not (told and name == _OF_BOTH_KNEES):
            told.setdefault(side, []).append(name)
    listed = ", ".join(f"{side} ({', '.join(names)})" for side, names in told.items())
    return next(iter(told), ""), f"its header says two sides: {listed}" if len(told) > 1 else ""


def side_in_words(texts: Sequence[str]) -> Side:
    """The side that a text names, the first that names exactly one.

    >>> side_in_words(["SAG_3D_DESS_RIGHT"]), side_in_words(["BRIGHT", "left/right"])
    ('right', '')
    """
    for text in texts:
        named = {side for side in ("left", "right") if re.search(rf"(?<![a-z]){side}(?![a-z])", text.lower())}
        if len(named) == 1:
            return named.pop()
    return ""
