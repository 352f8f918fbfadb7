"""Tables of change over the visits of test knees: of every cell, and paired between the compared levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from oahier.data.follow_up import known_values, visits_of
from oahier.data.manifest.manifest import Manifest, read_manifest
from oahier.files import frame_csv, write_atomically
from oahier.hierarchy import FINE
from oahier.metrics import weighted_auc
from oahier.problems import ManifestError
from oahier.reporting.change import ChangeReport, evaluate_change
from oahier.statistics import Comparison
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.paired import paired_left_out
from oahier.study.axis_tables import AxisTables
from oahier.study.cell_files import predictions_of
from oahier.study.cells import Cell
from oahier.study.pairs import Pair, pairs
from oahier.study.results import Study
from oahier.visits import response_mean
from oahier.visits.outcomes import enough_events, first_events
from oahier.visits.response import changes

AXIS, GRADE = "axis", "severity"
"""Scores that are followed: the coordinate along the first principal component, and the expected grade."""
WITHIN = 48
"""Months in which a rise of the grade is an event; less where follow-up is shorter."""
FILE = "change.csv"


@dataclass(frozen=True, eq=False)
class CellChange:
    """One score of the test knees of a cell, over visits."""

    report: ChangeReport
    within: int | float

    @cached_property
    def left_out(self) -> dict[str, tuple[LeftOut, Any]]:
        """Metrics with and without each subject, and the subjects of their rows; without those unknown.

        They do not depend on what the cell is compared with, and a cell is compared with many.
        """
        visits, score, grade = self.report.visits, self.report.values, self.report.grades
        pairs = changes(visits, np.isfinite(score) & np.isfinite(grade))
        first, later = pairs.T
        change, subjects = score[later] - score[first], visits.subject[first]
        found: dict[str, tuple[LeftOut, Any]] = {}
        if len(np.unique(subjects)) > 2 and np.ptp(change) > 1e-12:
            mean = partial(response_mean, change=change)
            found["response_mean"] = leave_out([mean], subjects), subjects
        rows, event = first_events(visits, score, grade, months=self.within, rise=self.report.rise)
        if enough_events(event, visits.subject[rows]):
            area = partial(weighted_auc, scores=score[rows], positive=event == 1)
            found["progression_auc"] = leave_out([area], visits.subject[rows]), visits.subject[rows]
        return found


class ChangeTables:
    """Change of all finished cells whose manifest has knees with two visits in the test split.

    Args:
        study: the study; one with folds is pooled.
        axes: its severity axes, where there are any.
    """

    def __init__(self, study: Study, axes: AxisTables | None) -> None:
        self.study = study
        self._found: dict[str, dict[str, CellChange]] = {}
        manifests: dict[Path, Manifest | None] = {}
        for cell in study.cells:
            if cell.state != "finished" or cell.compares_visits:
                continue
            path = Path(cell.config["data"]["manifest"])
            if path not in manifests:
                manifests[path] = _with_visits(path)
            manifest = manifests[path]
            if manifest is not None:
                self._found[cell.name] = dict(_changes(cell, manifest, axes))

    def rows(self) -> list[dict[str, Any]]:
        """Every number of every cell and score."""
        return [
            {"cell": cell.name, **cell.factors, "score": score, "quantity": one.quantity, "of": one.of,
             "value": one.estimate.value, "ci_low": one.estimate.low, "ci_high": one.estimate.high,
             "p_value": one.p_value, "knees": one.knees, "subjects": one.subjects, "events": one.events,
             "note": one.note}
            for cell in self.study.cells
            for score, found in self._found.get(cell.name, {}).items()
            for one in found.report.findings
        ]  # fmt: skip

    def comparisons(self) -> Iterator[tuple[Pair, Comparison]]:
        """Paired differences of response to time and of the AUC for later progression."""
        for pair in pairs(self.study):
            for score in (AXIS, GRADE):
                sides = [[self._found.get(cell.name, {}) for cell in cells] for cells in (pair.a, pair.b)]
                if not all(score in found for side in sides for found in side):
                    continue
                a, b = ([found[score].left_out for found in side] for side in sides)
                for metric, (_, subjects) in a[0].items():
                    same = [one[metric] for one in (*a, *b) if metric in one]
                    if len(same) < len(a) + len(b) or any(
                        not np.array_equal(each, subjects) for _, each in same
                    ):
                        continue  # not all cells tell it, or of other knees
                    largest = 1.0 if metric == "progression_auc" else float("inf")
                    yield pair, paired_left_out(
                        [one[metric][0] for one in a], [one[metric][0] for one in b], len(subjects),
                        task=score, metric=metric, largest=largest, paired=True,
                    )  # fmt: skip

    def write_visits(self) -> None:
        """Write ``change.csv`` into every cell: scores of test knees at each visit, and their slopes."""
        import pandas as pd

        for cell in self.study.cells:
            path, found = cell.folder / FILE, self._found.get(cell.name)
            if not found:
                path.unlink(missing_ok=True)
                continue
            first = next(iter(found.values())).report
            table = {"subject": first.visits.subject, "side": list(first.sides), "month": first.visits.month,
                     FINE: first.grades}  # fmt: skip
            for score, one in found.items():
                table[score] = one.report.values
                table[f"{score}_slope"] = one.report.slopes.knee[first.visits.knee]
            shown = pd.DataFrame(table).dropna(subset=list(found), how="all")
            write_atomically(path, frame_csv(shown.dropna(subset=["month"]), digits=9))


def _with_visits(path: Path) -> Manifest | None:
    """The manifest, if knees have several visits that it dates; ``None`` where not, or where it has gone."""
    try:
        manifest = read_manifest(path)
        visits_of(manifest)
    except ManifestError:
        return None
    return manifest


def _changes(
    cell: Cell, manifest: Manifest, axes: AxisTables | None
) -> Iterator[tuple[str, CellChange]]:  # fmt: skip
    table = predictions_of(cell.folder)
    scores: dict[str, Mapping[str, float]] = {} if axes is None else {AXIS: axes.along(cell)}
    if FINE in table.heads:
        scores[GRADE] = dict(zip(table.knee.tolist(), table.heads[FINE].severity.tolist(), strict=True))
    visits, grades = visits_of(manifest), known_values(manifest, FINE)
    names = manifest.table["knee"].astype(str).tolist()
    for score, of_knee in scores.items():
        values = np.array([of_knee.get(name, np.nan) for name in names], dtype=np.float64)
        followed = changes(visits, np.isfinite(values))
        if not len(followed) or set(of_knee) - set(names):
            continue
        known = np.isin(visits.knee, visits.knee[followed[:, 0]]) & np.isfinite(grades)
        month = visits.month[known & np.isfinite(visits.month)]
        within = min(WITHIN, float(np.ptp(month))) if len(month) else WITHIN
        report = evaluate_change(dict(of_knee), manifest, score=score, within=within, source=cell.name)
        yield score, CellChange(report, within)
