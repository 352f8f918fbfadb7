"""A tree of DICOM files, as a hospital's archive exports it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from oahier.data.importers.candidates import Candidate, ImportResult, LeftOut
from oahier.data.importers.dicom_labels import DicomLabels, read_labels
from oahier.data.importers.finish import finish_import
from oahier.data.importers.journal import locked
from oahier.data.importers.oai_series import series_pattern
from oahier.data.importers.pairs import read_pairs
from oahier.data.importers.parallel import announce
from oahier.files import write_atomically

if TYPE_CHECKING:
    from oahier.data.reading.dicom import Series

FOUND = "series.csv"
"""Table of every series that was found."""

_COLUMNS = ("folder", "subject", "study_date", "description", "protocol", "part", "modality", "side",
            "slices", "used", "problems")  # fmt: skip
_LISTED = 20


def import_dicom(
    source: str | Path,
    destination: str | Path,
    *,
    series: str = "",
    labels: str | Path = "",
    columns: Mapping[str, str] | str = "",
    values: Mapping[str, str] | str = "",
    covariates: str = "none",
    sheet: str | None = None,
    separator: str | None = None,
    visits: Literal["date", "number", "none"] = "date",
    patients: Literal["header", "folder"] = "header",
    licence: str = "",
    convert: bool = False,
    mirror_left: bool = False,
    n4: bool = False,
    workers: int = 0,
    progress: bool = True,
) -> ImportResult:
    """Import knees from a tree of DICOM files in folders of any depth and name.

    Headers say what there is: ``series.csv`` lists every series, used or not. Which of them are the knees,
    ``series`` says; without it a tree with series of several descriptions is refused, and they are listed.
    A knee is called ``<subject>-<side>-<visit>``, as far as these are known. The subject is the PatientID, or
    what the table of labels calls that patient. Names, dates of birth and other identifying elements of the
    headers are never written; folder names are, as the manifest has to find the images.
    A series is used where it lies, unless others lie in the same folder: then it is written as NIfTI.

    Args:
        source: top of the tree.
        destination: folder for the manifest.
        series: regular expression for description or protocol of the series, in any case.
        labels: table with grades: CSV, Excel or SAS, rows for patients, knees or examinations.
        columns: for ``patient`` (as the headers write it), ``subject`` (another name for the patient, to be
            written in its place), ``side``, ``date`` (of the study), ``kl``, ``oa``, ``split`` or a covariate
            the table's column: ``patient=MRN,kl=KL grade``.
        values: what codes mean: ``side.1=right,side.2=left``.
        covariates: further columns of the table to keep: ``none``, ``all``, or names with commas between.
        sheet: of a workbook, the first one when not given.
        separator: of a text table, found when not given.
        visits: what tells the examinations of a person apart: ``date`` of the study, their ``number``, or
            ``none`` where everybody has one; dates are written with ``date`` only.
        patients: who a series is of: PatientID in its ``header``, or the first ``folder`` below the source,
            for trees whose headers were emptied.
        licence: terms of the data, for the manifest.
        convert: also write the images as NIfTI in the destination.
        mirror_left: mirror left knees in preprocessing, so that medial and lateral agree.
        n4: correct the bias field in preprocessing.
        workers: processes that open images, 0 for none but this one.
        progress: show a bar on standard error.

    Raises:
        ValueError: series of several descriptions and no choice among them, a damaged table, or nothing that
            can be used.
        OSError: source or destination cannot be read or written.
    """
    from oahier.data.reading.dicom import find_series

    source, destination = Path(source), Path(destination)
    if not source.is_dir():
        raise OSError(2, f"cannot read {source}: no such folder; expected a tree of DICOM files")
    pattern = series_pattern(series)
    with locked(destination):
        announce(f"reading the headers of all files in {source}", progress)
        found = [
            _identified(one, source, patients)
            for one in find_series(source)
            if not _inside(one.folder, destination)
        ]
        table, left_out = DicomLabels("", []), list[LeftOut]()
        if labels:
            table, left_out = read_labels(
                Path(labels), read_pairs("columns", columns), read_pairs("values", values), covariates,
                sheet, separator, dict.fromkeys(one.patient for one in found),
            )  # fmt: skip
        wanted = [one for one in found if pattern.search(one.description) or pattern.search(one.protocol)]
        _write_found(destination / FOUND, source, found, wanted, table, dated=visits == "date")
        _check_choice(source, destination, found, wanted, series)
        joined = _Joined(source, table, visits)
        candidates = joined.candidates(wanted, found)
        out = [*left_out, *joined.left_out, *table.unused()]
        options = {
            "series": series, "labels": str(labels), "columns": read_pairs("columns", columns),
            "values": read_pairs("values", values), "covariates": covariates, "visits": visits,
            "patients": patients, "convert": convert, "mirror_left": mirror_left, "n4": n4,
        }  # fmt: skip
        return finish_import(
            destination, candidates, out, importer="dicom", source=source, licence=licence, options=options,
            workers=workers, convert=convert, progress=progress, notes=[*table.notes, *joined.notes(labels)],
        )  # fmt: skip


def _identified(one: Series, source: Path, patients: str) -> Series:
    """A series whose patient is the one that is asked for, and whose date is none if it cannot be one."""
    patient, date = one.patient, one.study_date
    if patients == "folder":
        parts = one.folder.relative_to(source).parts
        patient = parts[0] if parts else source.absolute().name
    if date < "19000101":  # written where dates were removed
        date = ""
    return replace(one, patient=patient, study_date=date)


def _check_choice(
    source: Path, destination: Path, found: Sequence[Series], wanted: Sequence[Series], series: str
) -> None:
    """Refuse to guess which series are the knees."""
    names = Counter(one.description or one.protocol or "no description" for one in found)
    if wanted and (series or len(names) == 1):
        return
    patients: dict[str, set[str]] = {}
    for one in found:
        patients.setdefault(one.description or one.protocol or "no description", set()).add(one.patient)
    listed = "".join(
        f"\n  {count:5d} x {name}  ({len(patients[name])} patients)"
        for name, count in names.most_common(_LISTED)
    )
    more = f"\n  and {len(names) - _LISTED} more descriptions" if len(names) > _LISTED else ""
    what = f"no series matches {series!r}" if series else "choose the series of the knees (--series REGEX)"
    if not found:
        raise ValueError(f"{source}: expected DICOM images, found none in it")
    raise ValueError(f"{source}: {what}; {destination / FOUND} lists all of them, there are{listed}{more}")


@dataclass
class _Joined:
    """Makes knees of series and rows."""

    source: Path
    labels: DicomLabels
    visits: str

    def __post_init__(self) -> None:
        self.left_out: list[LeftOut] = []
        self._unlabelled = 0

    def candidates(self, wanted: Sequence[Series], found: Sequence[Series]) -> list[Candidate]:
        shared = Counter(one.folder for one in found)
        rows: dict[int, object] = {}
        for number, one in enumerate(wanted):
            try:
                rows[number] = self.labels.find(one.patient, one.laterality, one.study_date)
            except ValueError as error:
                rows[number] = error
        candidates = []
        for number, one in enumerate(wanted):
            reason = self._reason(one, rows[number])
            if reason:
                subject = self.labels.subject(one.patient)
                knee = _name(subject, one.laterality, self._visit(one)) if subject else ""
                self.left_out.append(LeftOut(_shown(one, self.source), knee, subject, reason))
                continue
            alone = shared[one.folder] == 1 and all(file.parent == one.folder for file in one.files)
            candidates.append(self._knee(one, rows[number], None if alone else one))
        return self._numbered(candidates) if self.visits == "number" else candidates

    def _reason(self, one: Series, row: object) -> str:
        """Why a series is left out, empty if it is not."""
        labels = self.labels
        if one.problems:
            return "; ".join(one.problems)
        if isinstance(row, ValueError):
            return str(row)
        if not one.patient:
            return (
                "no PatientID in its header, and knees of one person must stay in one split; if the first "
                "folder tells the person: patients=folder"
            )
        if not labels.subject(one.patient):
            return f"{labels.name} has no other name for this patient"
        return "" if row is not None else labels.contradiction(one.patient, one.laterality, one.study_date)

    def _knee(self, one: Series, row: object, series: Series | None) -> Candidate:
        from oahier.data.importers.rows import TableRow

        known = row if isinstance(row, TableRow) else None
        self._unlabelled += known is None
        subject = self.labels.subject(one.patient)
        side = one.laterality or (known.side if known else "")
        visit = self._visit(one)
        return Candidate(
            _name(subject, side, visit), subject, side, visit, one.folder, None,
            known.kl if known else None, known.oa if known else None, known.split if known else "",
            (known.covariates if known else {}) | {"manufacturer": one.manufacturer}, series,
        )  # fmt: skip

    def _visit(self, one: Series) -> str:
        return "" if self.visits == "none" else one.study_date

    def _numbered(self, candidates: list[Candidate]) -> list[Candidate]:
        """Dates replaced by their order in the life of a subject."""
        dates: dict[str, set[str]] = {}
        for item in candidates:
            dates.setdefault(item.subject, set()).add(item.visit)
        numbered = []
        for item in candidates:
            visit = str(sorted(dates[item.subject]).index(item.visit) + 1)
            numbered.append(replace(item, visit=visit, knee=_name(item.subject, item.side, visit)))
        return numbered

    def notes(self, labels: str | Path) -> list[str]:
        """Knees without a row."""
        if not labels:
            return ["no table of labels was given: every knee is without a grade"]
        notes = [f"{self._unlabelled} knees have no row in {self.labels.name}"] if self._unlabelled else []
        if shared := self.labels.shared():
            notes.append(
                f"{shared} rows of {self.labels.name} have no date and were used for several examinations; "
                "give it a column with the date (columns: date=...) unless the grade holds for all of them"
            )
        return notes


def _name(*parts: str) -> str:
    return "-".join(part for part in parts if part)


def _write_found(
    path: Path,
    source: Path,
    found: Sequence[Series],
    wanted: Sequence[Series],
    labels: DicomLabels,
    dated: bool,
) -> None:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(_COLUMNS)
    used = set(map(id, wanted))
    for one in found:
        date = one.study_date if dated else ""
        chosen = "yes" if id(one) in used and not one.problems else "no"
        table.writerow(
            [_shown(one, source), labels.subject(one.patient), date, one.description, one.protocol, one.part,
             one.modality, one.laterality, len(one.slices), chosen, "; ".join(one.problems)]
        )  # fmt: skip
    write_atomically(path, stream.getvalue())


def _shown(one: Series, source: Path) -> str:
    place = one.folder.relative_to(source).as_posix()
    return place if place != "." else source.name


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
