"""Importer of the Osteoarthritis Initiative: DICOM series of any visit, with centrally read grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from oahier.intake.candidate import Candidate, ImportResult
from oahier.intake.destination import locked
from oahier.intake.oai_codes import VISITS, tables_of_folder, visit_list
from oahier.intake.oai_covariates import Covariates, read_covariates
from oahier.intake.oai_extracted import remove_unused, unpack_all
from oahier.intake.oai_grades import TABLES, Readings, read_grades
from oahier.intake.oai_series import SERIES, OaiSeries, SeriesFinder, Wanted
from oahier.intake.oai_sides import wanted_sides
from oahier.intake.oai_tree import find_folders
from oahier.intake.options import ImportKeywords, ImportOptions, series_pattern
from oahier.intake.write import finish_import

LICENCE = "OAI data use agreement (NDA); no re-identification"


def import_oai(
    source: str | Path,
    destination: str | Path,
    *,
    grades: str | Path | Sequence[str | Path] = "",
    covariates: str | Path | Sequence[str | Path] = "",
    visits: str | Sequence[str] = "all",
    sides: str | Sequence[str] = "both",
    series: str = SERIES,
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    """Import knees of the OAI from any part of its tree, ``results/00m/0.C.2/<subject>/<date>/<series>/001``.

    The header of one file a folder tells which series are DESS and of which knee. Series that NDA packed as
    ``<series>.tar.gz`` are extracted to the destination, which is announced, and again when they
    change; folders are used where they lie.
    Visits are called by their codes: V00 (00m), V01 (12m), V03 (24m), V05 (36m), V06 (48m), V08 (72m),
    V10 (96m); they follow from the folders above the series. A knee is called ``9000099-right-V00``, and all
    knees of a person share a subject. Of two series of one knee at one visit, one without missing slices
    comes before one with, then the later one is used; the other is left out.

    Args:
        source: any folder of the tree.
        destination: folder for the manifest.
        grades: tables of KL grades (``kxr_sq_bu00.txt`` and its like, as text or SAS, or NDA's
            ``oai_kxrsemiquant01.txt``), or folders with them, commas between; those that lie in the source
            when not given. READPRJ 15 comes before 37, then 42.
        covariates: tables with sex, age, body mass index and site (``enrollees.txt``, ``allclinical00.txt``),
            or folders with them.
        visits: codes or months to import, ``V00,V03`` or ``00m,24m``; all when not given. Where folders do
            not tell the visit, give the one that it is.
        sides: right, left or both; or the file of a list, a subject and a side each line (``9001104,RIGHT``).
        series: regular expression for the description of the series.
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`.

    Raises:
        ValueError: no such series, a damaged table, or nothing that can be used.
        OSError: source or destination cannot be read or written, or the disk is too small.
        ImportError: a SAS table without pyreadstat.
    """
    source, destination = Path(source), Path(destination)
    shared["licence"] = shared.get("licence") or LICENCE
    wanted = Wanted(visit_list("visits", visits), wanted_sides("sides", sides), series_pattern(series))
    common = ImportOptions(**shared)
    readings, given = read_tables(source, grades)
    details = read_covariates(covariates) if covariates else Covariates()
    with locked(destination, "oai"):
        finder = SeriesFinder(source, destination, wanted)
        finder.look(find_folders(checked_folder(source), destination, common.progress))
        candidates = [knee_of(item, source, readings if given else None, details) for item in finder.chosen()]
        notes = [*finder.notes(), *readings.notes, *grade_notes(candidates, readings, given)]
        candidates, damaged = unpack_all(candidates, destination, common.workers, common.progress)
        options = {
            "grades": given, "covariates": bool(covariates), "visits": wanted.visits,
            "sides": str(wanted.sides), "series": series,
        }  # fmt: skip
        result = finish_import(
            destination, candidates, [*finder.left_out, *damaged], importer="oai", source=source,
            options=options, notes=notes, **shared,
        )  # fmt: skip
        remove_unused(destination, candidates)
        return result


def knee_of(one: OaiSeries, source: Path, readings: Readings | None, details: Covariates) -> Candidate:
    """The knee of a series, with its grade and covariates."""
    grade = readings.get(one.subject, one.side, one.visit)[0] if readings else None
    date = one.date
    month = VISITS.get(one.visit, "").removesuffix("m")
    scanned = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else ""
    more = {"scan_date": scanned, "month": month and str(int(month))}
    return Candidate(
        one.knee, one.subject, one.side, one.visit, source / one.item.path, kl=grade,
        covariates=details.get(one.subject, one.visit) | more,
        source=one.item.path if one.item.packed else "",
    )  # fmt: skip


def grade_notes(candidates: Sequence[Candidate], readings: Readings, given: Sequence[str]) -> list[str]:
    """Numbers of knees without a grade, by reason."""
    if not given:
        return ["no tables of grades were given: every knee is without one"] if candidates else []
    reasons: Counter[str] = Counter()
    for item in candidates:
        grade, why = readings.get(item.subject, item.side, item.visit)
        if grade is None:
            reasons[why] += 1
    return [f"{count} knees have no grade: {why}" for why, count in sorted(reasons.items())]


def read_tables(source: Path, grades: str | Path | Sequence[str | Path]) -> tuple[Readings, list[str]]:
    """Grades, and the tables they come from: those that are given, else those that lie in the source."""
    if not grades:
        tables = tables_of_folder(source, TABLES) if source.is_dir() else []
        return (read_grades(tables) if tables else Readings({}, {}, ())), [str(path) for path in tables]
    return read_grades(grades), [str(grades)] if isinstance(grades, (str, Path)) else list(map(str, grades))


def checked_folder(source: Path) -> Path:
    """The folder itself.

    Raises:
        OSError: no such folder.
    """
    if not source.is_dir():
        raise OSError(2, f"cannot read {source}: no such folder; expected a part of the OAI's tree")
    return source
