"""Inputs of prediction: image files, DICOM series and manifests, each scan with a name of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from oahier.data.manifest.columns import LONGEST_NAME, row_number
from oahier.data.manifest.manifest import Manifest, read_cells
from oahier.hierarchy import COARSE, FINE
from oahier.images import UnreadableImage, image_files
from oahier.problems import ManifestError, Problem
from oahier.types import MISSING

if TYPE_CHECKING:
    from oahier.images.dicom import Series

Side = Literal["left", "right", ""]

IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
_TABLE_ENDINGS = (".csv", ".tsv", ".txt")
_UNFIT = re.compile(r'[/\\:*?"<>|\s]+')


@dataclass(frozen=True)
class Scan:
    """One volume to predict."""

    knee: str
    """Name of the knee in tables and of its files."""
    source: str
    """The file or folder, as the user wrote it."""
    path: Path
    subject: str = ""
    side: Side = ""
    visit: str = ""
    cartilage: Path | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    """Known classes by target column."""
    series: Series | None = None
    """The DICOM series, where ``path`` is its folder."""
    notes: tuple[str, ...] = ()
    """Warnings that the header gives rise to."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the volume and its label map."""
        volume = image_files(self.path) if self.series is None else tuple(self.series.files)
        return volume if self.cartilage is None else (*volume, *image_files(self.cartilage))


@dataclass(frozen=True)
class LeftOut:
    """Something that was not predicted, and why; ``wanted`` is false where it was not asked for."""

    source: str
    knee: str
    reason: str
    wanted: bool = True


def find_scans(
    paths: Sequence[str | Path], *, side: Side = "", series: str | None = None, sides_needed: bool = False
) -> tuple[list[Scan], list[LeftOut]]:
    """The scans behind paths, in order; what cannot be predicted is listed with its reason.

    Args:
        paths: image files (``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mhd``), DICOM folders with any
            number of series in any depth, or manifests (CSV files, or folders with a ``manifest.csv``).
        side: side of scans whose header has none.
        series: regular expression that the description or the protocol of a DICOM series must match
            somewhere, in any case.
        sides_needed: the model mirrors left knees, so a knee of unknown side cannot be predicted.

    Raises:
        ValueError: ``series`` is not a regular expression.
    """
    try:
        wanted = None if series is None else re.compile(series, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"series: expected a regular expression, got {series!r} ({error})") from error
    scans: list[Scan] = []
    left_out: list[LeftOut] = []
    for given in paths:
        path = Path(given)
        for found in _scans_of(path, wanted):
            if isinstance(found, LeftOut):
                left_out.append(found)
                continue
            settled = _settle_side(found, side, needed=sides_needed)
            (left_out if isinstance(settled, LeftOut) else scans).append(settled)  # type: ignore[arg-type]
    return _with_own_names(scans), left_out


def _scans_of(path: Path, wanted: re.Pattern[str] | None) -> Iterable[Scan | LeftOut]:
    name = path.name.lower()
    if not path.exists():
        return [LeftOut(str(path), "", "no such file or folder")]
    if (path.is_file() and name.endswith(_TABLE_ENDINGS)) or (path / "manifest.csv").is_file():
        return _from_manifest(path)
    if path.is_dir():
        return _from_dicom(path, wanted)
    if name.endswith(".ckpt"):
        return [LeftOut(str(path), "", "a checkpoint, not a scan: one model predicts at a time")]
    return [Scan(_image_name(path), str(path), path)]


def _from_manifest(path: Path) -> list[Scan | LeftOut]:
    """The rows of a manifest; a faulty row is left out alone."""
    file, cells, problems = read_cells(path)
    if problems:
        return [LeftOut(str(path), "", str(ManifestError(file, problems)))]
    found: list[Scan | LeftOut] = []
    manifest, faulty = _sound_rows(file, cells)
    by_row: dict[int, list[Problem]] = {}
    for problem in faulty:
        by_row.setdefault(problem.row or 0, []).append(problem)
    for number, listed in sorted(by_row.items()):
        where = f"row {number}: " if number else ""
        said = (f"{item.column}: {item.message}" if item.column else item.message for item in listed)
        reason = where + "; ".join(said)
        found.append(LeftOut(str(path), next((item.knee for item in listed if item.knee), ""), reason))
    if manifest is None:
        return found
    return found + [scan for position in range(len(manifest)) for scan in manifest_scan(manifest, position)]


def manifest_scan(manifest: Manifest, position: int) -> list[Scan]:
    """The scan in a row of a manifest; none if the row has no volume."""
    row = manifest.table.iloc[position]
    mri = manifest.file(position, "mri")
    if mri is None:
        return []
    labels = {name: int(row[name]) for name in (FINE, COARSE) if row[name] != MISSING}
    source, cartilage = f"{manifest.name}: {row['mri']}", manifest.file(position, "cartilage")
    return [Scan(row["knee"], source, mri, row["subject"], row["side"], row["visit"], cartilage, labels)]


def _sound_rows(file: Path, table: pd.DataFrame) -> tuple[Manifest | None, list[Problem]]:
    """The manifest of the rows without errors, and the errors of the others."""
    faulty: list[Problem] = []
    while len(table):
        try:
            return Manifest.from_table(table, file.parent, file), faulty
        except ManifestError as error:
            rows = {problem.row for problem in error.problems if problem.row is not None}
            keep = [row_number(index) not in rows for index in table.index]
            faulty += error.problems
            if all(keep):
                return None, faulty
            table = table[keep]
    return None, faulty


def _from_dicom(path: Path, wanted: re.Pattern[str] | None) -> list[Scan | LeftOut]:
    from oahier.images.dicom import find_series, header_side, series_faults

    try:
        series = find_series(path)
    except (UnreadableImage, OSError) as error:
        return [LeftOut(str(path), "", str(error))]
    if not series:
        reason = "no DICOM series in this folder; give image files one by one, for example scans/*.nii.gz"
        return [LeftOut(str(path), "", reason)]
    shared = [item.folder for item in series]
    found: list[Scan | LeftOut] = []
    for item in series:
        name = _series_name(path, item, alone=shared.count(item.folder) == 1)
        words = ", ".join(word for word in (item.description or item.protocol, item.part) if word)
        source = str(item.folder) if shared.count(item.folder) == 1 else f"{item.folder}: {words}"
        described = bool(item.places)  # damaged files are told of in any case
        if described and wanted and not any(map(wanted.search, (item.description, item.protocol))):
            reason = f"--series {wanted.pattern!r} does not match {_title(item)}"
            found.append(LeftOut(source, name, reason, wanted=False))
            continue
        faults = series_faults(item)
        if faults:
            found.append(LeftOut(source, name, "; ".join(faults)))
            continue
        other = () if _may_be_a_knee(item) else (f"the header says body part {item.body_part!r}",)
        notes = (*item.notes, *other)
        side = _as_side(header_side(item))
        found.append(Scan(name, source, Path(item.folder), side=side, series=item, notes=notes))
    return found


def _as_side(word: str) -> Side:
    return "left" if word == "left" else "right" if word == "right" else ""


def _title(series: Series) -> str:
    return f"{series.description or series.protocol or 'a series without description'!r}"


def _may_be_a_knee(series: Series) -> bool:
    part = series.body_part.upper()
    return not part or any(word in part for word in ("KNEE", "LEG", "EXTREMITY", "JOINT", "LOWER", "PATELLA"))


def _series_name(root: Path, series: Series, *, alone: bool) -> str:
    """From the folders below the one that was given; patients' names and numbers are not asked for."""
    folder = Path(series.folder)
    below = folder.relative_to(root).parts if folder != root and folder.is_relative_to(root) else ()
    parts = [*(below or (folder.resolve().name,))]
    if not alone:
        parts += [series.description or series.protocol or "series", *([series.part] if series.part else [])]
    return _legal("-".join(parts))


def _image_name(path: Path) -> str:
    ending = next(
        (end for end in sorted(IMAGE_ENDINGS, key=len)[::-1] if path.name.lower().endswith(end)), ""
    )
    return _legal(path.name[: len(path.name) - len(ending)] if ending else path.stem)


def _legal(name: str) -> str:
    """A name that may be a file's, cut where it is long.

    >>> _legal("a b/c: d"), len(_legal("k" * 300))
    ('a-b-c-d', 120)
    """
    cleaned = "".join(character for character in _UNFIT.sub("-", name) if character.isprintable())
    short = cleaned.strip(".- ").encode()[:LONGEST_NAME].decode(errors="ignore")
    return short.rstrip(".- ") or "knee"


def _settle_side(scan: Scan, given: Side, *, needed: bool) -> Scan | LeftOut:
    if scan.side and given and scan.side != given:
        reason = f"--side {given} contradicts what is known of this scan, {scan.side}; leave --side out"
        return LeftOut(scan.source, scan.knee, reason)
    side: Side = scan.side or given
    if needed and not side:
        reason = (
            "the model was trained with left knees mirrored, and nothing says which side this knee is: give "
            "--side left or --side right, or a manifest with a column side"
        )
        return LeftOut(scan.source, scan.knee, reason)
    return replace(scan, side=side)


def _with_own_names(scans: Sequence[Scan]) -> list[Scan]:
    """Names made unique by the folder of the scan, then by a number; comparison ignores case."""
    taken: set[str] = set()
    named = []
    counts: dict[str, int] = {}
    for scan in scans:
        counts[scan.knee.lower()] = counts.get(scan.knee.lower(), 0) + 1
    for scan in scans:
        name = scan.knee
        if counts[name.lower()] > 1 and scan.series is None:
            name = _legal(f"{scan.path.resolve().parent.name}-{name}")
        number, unique = 2, name
        while unique.lower() in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique.lower())
        named.append(replace(scan, knee=unique, subject=scan.subject or unique))
    return named
