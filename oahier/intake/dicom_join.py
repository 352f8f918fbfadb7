"""Knees from DICOM series and the rows of a table of grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oahier.images.dicom.faults import with_advice
from oahier.intake.candidate import Candidate, LeftOut
from oahier.intake.dicom_archives import is_extracted
from oahier.intake.dicom_folder import FoundSeries
from oahier.intake.dicom_labels import DicomLabels
from oahier.intake.table_rows import TableRow


@dataclass
class DicomKnees:
    """Makes knees of series and rows; what cannot be used is left out with its reason.

    Args:
        source: top of the tree.
        labels: the table; one without a name if none was given.
        visits: ``date``, ``number`` or ``none``.
        left_out: series that are not used.
    """

    source: Path
    labels: DicomLabels
    visits: str
    left_out: list[LeftOut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dates: dict[str, list[str]] = {}
        self._unlabelled = self._undated = 0

    def candidates(self, wanted: Sequence[FoundSeries]) -> list[Candidate]:
        """The knees of the series that were chosen."""
        self._dates = self._dates_of(wanted)
        rows = [self._row(one) for one in wanted]
        candidates = []
        for one, row in zip(wanted, rows, strict=True):
            if reason := self._reason(one, row):
                subject = self.labels.subject(one.patient)
                knee = _name(subject, one.laterality, self._visit(one)) if subject else ""
                self.left_out.append(LeftOut(_shown_apart(one, self.source), knee, subject, reason))
            else:
                candidates.append(self._knee(one, row if isinstance(row, TableRow) else None))
        return candidates

    def _row(self, one: FoundSeries) -> TableRow | ValueError | None:
        """The row of a series; all are looked for before it is said which rows contradict a series."""
        try:
            return self.labels.find(one.patient, one.laterality, one.study_date)
        except ValueError as error:
            return error

    def _reason(self, one: FoundSeries, row: TableRow | ValueError | None) -> str:
        """Reason to leave a series out, empty if there is none."""
        labels = self.labels
        if one.problems:
            return with_advice(one.problems)
        if isinstance(row, ValueError):
            return str(row)
        if not one.patient:
            return (
                "no PatientID in its header, and knees of one person must stay in one split; if the first "
                "folder below the source names the person: --patients folder"
            )
        if not labels.subject(one.patient):
            return f"{labels.name} has no other name for this patient"
        return "" if row is not None else labels.contradiction(one.patient, one.laterality, one.study_date)

    def _knee(self, one: FoundSeries, row: TableRow | None) -> Candidate:
        self._unlabelled += row is None
        self._undated += self.visits != "none" and not one.study_date
        subject, visit = self.labels.subject(one.patient), self._visit(one)
        side = one.laterality or (row.side if row else "")
        return Candidate(
            _name(subject, side, visit), subject, side, visit, one.folder, None,
            row.kl if row else None, row.oa if row else None, row.split if row else "",
            (row.covariates if row else {}) | {"manufacturer": one.manufacturer}, one.shared,
            source=one.place if is_extracted(one.place) else "",
        )  # fmt: skip

    def _dates_of(self, wanted: Sequence[FoundSeries]) -> dict[str, list[str]]:
        """The dates of every subject in order, of series that are left out as well."""
        dates: dict[str, set[str]] = {}
        for one in wanted:
            if one.study_date:
                dates.setdefault(self.labels.subject(one.patient), set()).add(one.study_date)
        return {subject: sorted(found) for subject, found in dates.items()}

    def _visit(self, one: FoundSeries) -> str:
        if self.visits == "none" or not one.study_date:
            return ""
        if self.visits == "date":
            return one.study_date
        return str(self._dates[self.labels.subject(one.patient)].index(one.study_date) + 1)

    def notes(self) -> list[str]:
        """Knees without a row or a date, and rows that were used more than once."""
        undated = f"{self._undated} knees have no date of study and an empty visit"
        notes = [undated] if self._undated else []
        if not self.labels.name:
            return ["no table of labels was given: every knee is without a grade", *notes]
        if self._unlabelled:
            notes.append(f"{self._unlabelled} knees have no row in {self.labels.name}")
        if shared := self.labels.shared():
            notes.append(
                f"{shared} rows of {self.labels.name} have no date and were used for several examinations; "
                "give it a column with the date (--columns date=...) unless the grade holds for all of them"
            )
        return notes


def shown(one: FoundSeries, source: Path) -> str:
    """Folder of a series relative to the top of the tree."""
    return one.place if one.place != "." else source.name


def _shown_apart(one: FoundSeries, source: Path) -> str:
    """The same, and which one of the series in that place it is if there are several."""
    place = shown(one, source)
    return place if one.shared is None else f"{place}: {one.shared.title}, from {one.first.name}"


def _name(*parts: str) -> str:
    return "-".join(part for part in parts if part)
