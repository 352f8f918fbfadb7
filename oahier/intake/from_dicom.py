"""Importer of a tree of DICOM files, as a hospital's archive exports it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Unpack

from oahier.files import csv_text, write_atomically
from oahier.images.formats import NIFTI, TEXT
from oahier.intake.candidate import ImportResult, LeftOut
from oahier.intake.destination import locked
from oahier.intake.dicom_archives import unzip_all
from oahier.intake.dicom_folder import FoundSeries
from oahier.intake.dicom_join import DicomKnees, shown
from oahier.intake.dicom_labels import DicomLabels, read_labels
from oahier.intake.dicom_scan import TreeScan
from oahier.intake.options import ImportKeywords, ImportOptions, read_pairs, series_pattern
from oahier.intake.write import finish_import

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
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    """Import knees from a tree of DICOM files in folders of any depth and name.

    Headers say what there is: ``series.csv`` lists every series, used or not. Which of them are the knees,
    ``series`` says; without it a tree with series of several descriptions is refused, and they are listed.
    A knee is called ``<subject>-<side>-<visit>``, as far as these are known. The subject is the PatientID, or
    what the table of labels calls that patient. Names, dates of birth and other identifying elements of the
    headers are never written; names of folders and files are, as the manifest has to find the images.
    Folders in which every DICOM file is damaged are left out, whatever ``series`` says.
    A series is used where it lies, unless others lie in the same folder: then it is written as NIfTI.
    An import that was interrupted goes on where it stopped, in the tree as well as in the images.

    Args:
        source: top of the tree, or a zip archive of one. Archives in the tree count as folders; they are
            extracted to the destination.
        destination: folder for the manifest.
        series: regular expression for description or protocol of the series, in any case.
        labels: table with grades: CSV, Excel or SAS, rows for patients, knees or examinations.
        columns: for ``patient`` (as the headers write it), ``subject`` (another name for the patient, to be
            written in its place), ``side``, ``date`` (of the study), ``kl``, ``oa``, ``split`` or a covariate
            the table's column: ``patient=MRN,kl=KL grade``.
        values: mapping of codes to values: ``side.1=right,side.2=left``.
        covariates: further columns of the table to keep: ``none``, ``all``, or names with commas between.
        sheet: sheet of a workbook; the first one when not given.
        separator: separator of a text table; detected when not given.
        visits: name of each examination of a person: ``date`` of the study, their ``number``, or
            ``none`` where everybody has one; dates are written with ``date`` only. Numbers count the dates
            on which the person has a chosen series, also one that is left out; a series without a date has
            no visit.
        patients: name of each person: PatientID in the ``header``, or the first ``folder`` below the source,
            for trees whose headers were emptied.
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`.

    Raises:
        ValueError: series of several descriptions and no choice among them, a damaged table, or nothing that
            can be used.
        ImportInterrupted: a process was killed or ran out of memory.
        OSError: source or destination cannot be read or written.
    """
    source, destination = Path(source), Path(destination)
    if not (source.is_dir() or (source.is_file() and source.suffix.lower() == ".zip")):
        raise OSError(
            2, f"cannot read {source}: no such folder; expected a tree of DICOM files, or a .zip with one"
        )
    pattern, common = series_pattern(series), ImportOptions(**shared)
    with locked(destination, "dicom"):
        extracted, damaged = unzip_all(source, destination, common.progress)
        scan = TreeScan(
            source, destination, pattern, common.workers, common.progress, common.kinds, extracted
        )
        found = [_identified(one, source, patients) for one in scan.series()]
        table, left_out = DicomLabels("", []), list[LeftOut]()
        if labels:
            table, left_out = read_labels(
                Path(labels), read_pairs("columns", columns), read_pairs("values", values), covariates,
                sheet, separator, dict.fromkeys(one.patient for one in found),
            )  # fmt: skip
        wanted = [one for one in found if not one.count or scan.fits(one)]
        _write_found(destination / FOUND, source, found, wanted, table, dated=visits == "date")
        _check_choice(source, destination, _sound(found), _sound(wanted), series)
        knees = DicomKnees(source, table, visits)
        candidates = knees.candidates(wanted)
        out = [*damaged, *left_out, *knees.left_out, *table.unused()]
        options = {
            "series": series, "labels": str(labels), "columns": read_pairs("columns", columns),
            "values": read_pairs("values", values), "covariates": covariates, "visits": visits,
            "patients": patients,
        }  # fmt: skip
        return finish_import(
            destination, candidates, out, importer="dicom", source=source, options=options,
            notes=[*table.notes, *knees.notes()], **shared,
        )  # fmt: skip


def _identified(one: FoundSeries, source: Path, patients: str) -> FoundSeries:
    """A series whose patient is the one that is asked for, and whose date is none if it cannot be one."""
    patient, date = one.patient, one.study_date
    if patients == "folder":
        parts = Path(one.place).parts[source.is_file() :]
        patient = (parts[0] if parts else source.absolute().name).removesuffix(".zip")
    if date < "19000101":  # written where dates were removed
        date = ""
    return replace(one, patient=patient, study_date=date)


def _sound(found: Sequence[FoundSeries]) -> list[FoundSeries]:
    """Series without damaged files in folders without a sound one, of which no header tells a description."""
    return [one for one in found if one.count]


def _check_choice(
    source: Path, destination: Path, found: Sequence[FoundSeries], wanted: Sequence[FoundSeries], series: str
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
        others = sorted(
            path.name for path in source.rglob("*") if path.name.lower().endswith((*NIFTI, *TEXT))
        )
        why = f"{destination / FOUND} lists those that are damaged"
        if others:
            why = f"of {len(others)} files such as {others[0]}, `oahier data import nifti` makes a manifest"
        raise ValueError(f"{source}: expected DICOM images, found none in it that can be read; {why}")
    raise ValueError(f"{source}: {what}; {destination / FOUND} lists all of them, there are{listed}{more}")


def _write_found(
    path: Path,
    source: Path,
    found: Sequence[FoundSeries],
    wanted: Sequence[FoundSeries],
    labels: DicomLabels,
    dated: bool,
) -> None:
    used = {id(one) for one in wanted if not one.problems}
    rows = [
        (shown(one, source), labels.subject(one.patient), one.study_date if dated else "", one.description,
         one.protocol, one.part, one.modality, one.laterality, one.count, "yes" if id(one) in used else "no",
         "; ".join(one.problems))
        for one in found
    ]  # fmt: skip
    write_atomically(path, csv_text(_COLUMNS, rows))
