"""HTML page of an audit, self-contained, for light and dark screens and paper."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from oahier.audit.findings import LABEL_NAMES
from oahier.audit.result import AuditResult
from oahier.audit.thumbnail import COLOURS, SIDE
from oahier.data.manifest.columns import row_number
from oahier.hierarchy import FINE, head_label
from oahier.pages import render
from oahier.problems import SEVERITIES, Problem
from oahier.types import MISSING

TEMPLATES = Path(__file__).parent / "templates"

LISTED = 3000
"""Findings on the page; the JSON file holds all."""
SAMPLE = 24
"""Knees without findings that are shown."""
_NOTHING = 5e-4
"""Absolute value up to which a number is written as 0."""
KINDS = {
    "table": "Table",
    "files": "Files",
    "leakage": "Leakage",
    "duplicates": "Duplicates",
    "subjects": "Subjects",
    "sides": "Sides",
    "splits": "Splits",
    "label map": "Label maps",
    "geometry": "Geometry",
    "orientation": "Orientation",
    "intensity": "Intensities",
}
"""Groups of findings in the order of the page."""

_RANGES = {
    "geometry": "Voxels, their size, and axes",
    "intensity": "Intensities of the volumes",
    "labels": "Label maps, volumes in ml",
}
_TITLES = {"cohort": "Knees, subjects and sides", "grades": "Grades by split", **_RANGES}


def page(audit: AuditResult, megabytes: float = 12.0) -> str:
    """The page as text; pictures of knees with findings first, then of a sample, up to a size."""
    cards, unseen = _cards(audit, megabytes)
    shown = audit.problems[:LISTED]
    knees = {card["name"]: card["id"] for card in cards}
    return render(
        TEMPLATES,
        "audit.html",
        name=audit.source.name,
        source=str(audit.source),
        verdict=audit.verdict,
        state=next((severity for severity in SEVERITIES if audit.of(severity)), "clean"),
        counts={severity: len(audit.of(severity)) for severity in SEVERITIES},
        cohort=_cohort(audit),
        groups=_groups(shown, knees),
        left_out=len(audit.problems) - len(shown),
        counted=[_view(name, table) for name, table in audit.tables.items() if name not in _RANGES],
        ranges=[_view(name, audit.tables[name]) for name in _RANGES if name in audit.tables],
        cards=cards,
        unseen=unseen,
        total=len(audit.knees),
        files_read=audit.store is not None,
        colours=[(LABEL_NAMES[label], "rgb({}, {}, {})".format(*rgb)) for label, rgb in COLOURS.items()],
        picture_width=3 * SIDE + 8,
        picture_height=SIDE,
        script=(TEMPLATES / "audit.js").read_text(encoding="utf-8"),
    )


def _cohort(audit: AuditResult) -> list[tuple[str, str]]:
    """Numbers at the top of the page."""
    if "cohort" not in audit.tables:
        return []
    cohort = audit.tables["cohort"].iloc[-1]
    splits = [f"{row['knees']} {row['split']}" for _, row in audit.tables["cohort"].iloc[:-1].iterrows()]
    facts = [
        ("knees", str(cohort["knees"])),
        ("subjects", str(cohort["subjects"])),
        ("sides", f"{cohort['right']} right, {cohort['left']} left"),
        ("with label map", str(cohort["with label map"])),
        ("splits", ", ".join(splits) or "none yet"),
    ]
    return [*facts[:2], ("visits", str(cohort["visits"])), *facts[2:]] if cohort["visits"] else facts


def _groups(problems: Iterable[Problem], knees: Mapping[str, str]) -> list[dict[str, Any]]:
    """Findings by kind, each with the place of its knee's picture, if there is one."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for problem in problems:
        groups.setdefault(problem.kind, []).append(
            {
                "severity": problem.severity,
                "row": "" if problem.row is None else problem.row,
                "knee": problem.knee or "",
                "anchor": knees.get(problem.knee or "", ""),
                "column": problem.column or "",
                "message": problem.message,
            }
        )
    order = [*KINDS, *(kind for kind in groups if kind not in KINDS)]
    return [
        {"kind": kind, "title": KINDS.get(kind, kind), "findings": groups[kind]}
        for kind in order
        if kind in groups
    ]


def _view(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """A table as texts; the first column of a group of rows is written once."""
    numeric = [pd.api.types.is_numeric_dtype(table[column]) for column in table]
    rows = [[_text(value) for value in row] for row in table.itertuples(index=False)]
    starts = [number == 0 or row[0] != rows[number - 1][0] for number, row in enumerate(rows)]
    grouped = len(rows) > 1 and not all(starts)
    return {
        "title": _TITLES.get(name, f"Grades by {name} and split"),
        "columns": [str(column) for column in table],
        "numeric": numeric,
        "rows": rows,
        "grouped": grouped,
        "starts": [grouped and start for start in starts],
        "last": bool(rows) and rows[-1][0] == "all",
    }


def _text(value: Any) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return "0" if abs(value) < _NOTHING else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def _cards(audit: AuditResult, megabytes: float) -> tuple[list[dict[str, Any]], int]:
    """Knees to show, and how many of those with findings did not fit."""
    if audit.store is None:
        return [], 0
    found: dict[str, list[Problem]] = {}
    for problem in audit.problems:
        if problem.knee:
            found.setdefault(problem.knee, []).append(problem)
    names = [str(name) for name in audit.knees["knee"]]
    flagged = [place for place, name in enumerate(names) if name in found]
    flagged.sort(key=lambda place: SEVERITIES.index(found[names[place]][0].severity))
    others = [place for place, name in enumerate(names) if name not in found]
    step = max(1, len(others) / SAMPLE)
    sample = [others[int(number * step)] for number in range(min(SAMPLE, len(others)))]
    cards: list[dict[str, Any]] = []
    room, left_out = megabytes * 1e6, 0
    for place in [*flagged, *sample]:
        files = audit.files(place)
        picture = audit.store.picture(files) if files is not None else b""
        size = 4 * len(picture) / 3
        if size > room or len(cards) >= LISTED:
            left_out += names[place] in found
            continue
        room -= size
        cards.append(_card(audit, place, found.get(names[place], []), picture))
    return cards, left_out


def _card(audit: AuditResult, place: int, problems: list[Problem], picture: bytes) -> dict[str, Any]:
    row = audit.knees.iloc[place]
    words = [
        row["side"],
        f"{head_label(FINE)} {row[FINE]}" if row[FINE] != MISSING else "no grade",
        row["visit"],
        row["split"],
    ]
    facts = row["facts"]
    geometry = ""
    if facts:
        voxels, spacing = (
            " x ".join(map(str, facts["shape"])),
            " x ".join(f"{s:.3g}" for s in facts["spacing"]),
        )
        geometry = f"{voxels} voxels of {spacing} mm, {facts['axes']}"
    return {
        "id": f"knee-{place}",
        "name": str(row["knee"]),
        "row": row_number(audit.knees.index[place]),
        "words": ", ".join(word for word in words if word),
        "geometry": geometry,
        "state": problems[0].severity if problems else "clean",
        "problems": [(problem.severity, problem.message) for problem in problems],
        "picture": base64.b64encode(picture).decode("ascii"),
    }
