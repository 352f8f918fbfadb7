"""Change of a score over visits: numbers, a table of slopes, and a page with trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oahier.callbacks.files import write_rows
from oahier.clinical import Estimate
from oahier.data.follow_up import known_values, visits_of
from oahier.data.manifest.manifest import Manifest
from oahier.files import unmarked, write_atomically
from oahier.hierarchy import FINE, head_label
from oahier.metrics.weighted import Floats
from oahier.pages import render
from oahier.pages.charts import drawn
from oahier.pages.text import count, p_value
from oahier.reporting.change_figure import MOST, ROSE, trajectories
from oahier.reporting.clinical_page import TEMPLATES, told
from oahier.visits import (
    Finding,
    Slopes,
    Visits,
    change_auc,
    progression_auc,
    response_means,
    slopes,
    within_grade,
)


@dataclass(frozen=True, eq=False)
class ChangeReport:
    """All that the page shows."""

    source: str
    score: str
    grade: str
    rise: int | float
    visits: Visits
    values: Floats
    """``(rows,)`` of the score, NaN where unknown."""
    grades: Floats
    sides: Sequence[str]
    """``(rows,)``."""
    slopes: Slopes
    findings: Sequence[Finding]


def read_scores(paths: Sequence[Path | str], column: str) -> dict[str, float]:
    """A column of numbers of each knee, from one or several CSV files with a column ``knee``.

    Raises:
        OSError: a file cannot be read.
        ValueError: a column is missing, a cell is no number, or a knee comes twice.
    """
    import pandas as pd

    found: dict[str, float] = {}
    for path in paths:
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, pd.errors.ParserError) as error:
            raise ValueError(f"{path}: expected a CSV file with a row a knee, got {error}") from error
        for name in ("knee", column):
            if name not in table:
                raise ValueError(f"{path}: expected a column {name!r}, got {', '.join(table.columns)}")
        for row, (knee, cell) in enumerate(zip(table["knee"].map(unmarked), table[column], strict=True), 2):
            if knee in found:
                raise ValueError(f"{path}: row {row}: knee {knee!r} comes twice; expected each visit once")
            try:
                found[knee] = float(cell) if cell.strip() else float("nan")
            except ValueError:
                raise ValueError(
                    f"{path}: row {row} (knee {knee}), column {column}: expected a number, got {cell!r}"
                ) from None
    return found


def evaluate_change(
    scores: dict[str, float],
    manifest: Manifest,
    *,
    score: str = "score",
    grade: str = FINE,
    months: str = "month",
    within: int | float = 48,
    span: int | float | None = None,
    rise: int | float = 1,
    source: str = "scores",
) -> ChangeReport:
    """Slopes, standardised response means, and what a score at the first visit says of later grades.

    Args:
        scores: of each scan by its name, larger for worse; :func:`read_scores`.
        manifest: of these scans and, if they are known, of later visits whose grades count as follow-up; with
            sides and months.
        score: how the score is called.
        grade: target column that it is compared with, and whose rise is the event.
        months: column of the months of each visit.
        within: months of follow-up of the event.
        span: months between the two visits of the response mean; first to last when not given.
        rise: of the grade, to be an event.
        source: how messages call the scores.

    Raises:
        ManifestError: no months, or no knee with two visits.
        ValueError: a scan that the manifest lacks, or no score.
    """
    names = manifest.table["knee"].astype(str)
    absent = sorted(set(scores) - set(names))
    if absent:
        raise ValueError(
            f"{source}: expected the knees of {manifest.name}, {len(absent)} are not there ({absent[0]})"
        )
    visits, grades = visits_of(manifest, months), known_values(manifest, grade)
    values = np.array([scores.get(name, np.nan) for name in names], dtype=np.float64)
    scored = np.isfinite(values)
    if not scored.any():
        raise ValueError(f"{source}: expected scores of knees, got none")
    grades[~np.isin(visits.knee, visits.knee[scored])] = np.nan
    called = (score, head_label(grade))
    lines = slopes(visits, values), slopes(visits, np.where(scored, grades, np.nan))
    findings = [
        Finding("mean slope a year", name, one.mean, one.knees, one.subjects, note=one.note)
        for name, one in zip(called, lines, strict=True)
    ]
    detectable = Estimate(lines[0].detectable)
    size = (lines[0].knees, lines[0].subjects)
    findings.append(Finding("smallest detectable change of a knee", score, detectable, *size))
    findings.append(change_auc(visits, values, grades, name=score, span=span))
    findings += response_means(visits, values, grades, names=called, span=span)
    findings += progression_auc(visits, values, grades, names=called, months=within, rise=rise)
    findings += within_grade(visits, values, grades, names=called, months=within, rise=rise)
    sides = manifest.table["side"].astype(str).tolist()
    return ChangeReport(source, score, called[1], rise, visits, values, grades, sides, lines[0], findings)


def write_change_report(report: ChangeReport, folder: Path | str) -> Path:
    """Write ``index.html``, ``change.csv`` and ``slopes.csv``; returns the page.

    Raises:
        OSError: the folder cannot be written.
    """
    target = Path(folder)
    columns = ["quantity", "of", "value", "low", "high", "p_value", "knees", "subjects", "events", "note"]
    write_rows(target / "change.csv", columns, [_cells(one) for one in report.findings])
    write_rows(
        target / "slopes.csv", ["subject", "side", "visits", "slope_a_year"], list(_slope_rows(report))
    )
    return write_atomically(target / "index.html", change_page(report))


def change_page(report: ChangeReport) -> str:
    """The page as text."""
    figure = trajectories(report.visits, report.values, report.grades, report.grade, report.rise)
    return render(
        TEMPLATES,
        "change.html",
        source=Path(report.source).name,
        score=report.score,
        grade=report.grade,
        rise=f"{report.rise:g}",
        lead=f"{count(report.slopes.knees, 'knee')} of {count(report.slopes.subjects, 'subject')} "
        "with two visits or more",
        rows=[
            [
                one.quantity, one.of, told(one.estimate), p_value(one.p_value), str(one.knees),
                str(one.subjects), "" if one.events is None else str(one.events),
            ]
            for one in report.findings
        ],
        notes=[f"{one.quantity}, {one.of}: {one.note}" for one in report.findings if one.note],
        most=MOST,
        colour=ROSE,
        figures=drawn("trajectories", "trajectories", figure).charts,
    )  # fmt: skip


def _cells(one: Finding) -> list[object]:
    found = one.estimate
    return [
        one.quantity, one.of, found.value, found.low, found.high, one.p_value, one.knees, one.subjects,
        one.events, one.note,
    ]  # fmt: skip


def _slope_rows(report: ChangeReport) -> Any:
    for rows in report.visits.courses():
        known = rows[np.isfinite(report.values[rows])]
        if len(known) > 1:
            row = int(known[0])
            slope = float(report.slopes.knee[report.visits.knee[row]])
            yield [str(report.visits.subject[row]), report.sides[row], len(known), slope]
