"""Importer of OAI-ZIB: label maps of the Zuse Institute Berlin on baseline DESS images of the OAI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from oahier.intake.candidate import Candidate, ImportResult, LeftOut
from oahier.intake.destination import locked
from oahier.intake.oai import checked_folder, grade_notes, knee_of, read_tables
from oahier.intake.oai_covariates import Covariates, read_covariates
from oahier.intake.oai_extracted import remove_unused, unpack_all
from oahier.intake.oai_packed import ARCHIVE
from oahier.intake.oai_series import SERIES, OaiSeries, SeriesFinder, Wanted
from oahier.intake.oai_sides import wanted_sides
from oahier.intake.oai_tree import SeriesFolder, find_folders, look_at
from oahier.intake.options import ImportKeywords, ImportOptions, series_pattern
from oahier.intake.write import finish_import
from oahier.intake.zib_mask import ZibMask

LICENCE = (
    "OAI data use agreement (NDA), no re-identification; label maps CC BY-NC 4.0 (Zuse Institute Berlin)"
)

PATHS = "oai_mri_paths.txt"
"""File of the data set that tells the series of each map: ``9001104: 0.C.2/9001104/<date>/<series>``."""


def import_oai_zib(
    source: str | Path,
    destination: str | Path,
    *,
    images: str | Path = "",
    grades: str | Path | Sequence[str | Path] = "",
    covariates: str | Path | Sequence[str | Path] = "",
    sides: str | Sequence[str] = "both",
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    """Import knees of the OAI that have a label map ``segmentation_masks/<subject>.segmentation_masks.mhd``.

    The maps carry no geometry. Each is put on the grid of its image by exchanging and reversing axes; which
    ones follows from the anatomy and from where cartilage is brighter than bone, and has to be clear. Their
    one id of tibial cartilage is split into medial (4) and lateral (5). The orientation found, and the share
    of the map that lies in tissue, are recorded in ``import.json``; the maps are written to
    ``destination/cartilage``. The image of a map is the one that ``doc/oai_mri_paths.txt`` names; without
    that file, the baseline DESS series of the subject, if there is only one.

    Args:
        source: folder of the label maps as downloaded (with ``segmentation_masks`` in any depth).
        destination: folder for the manifest.
        images: tree of the OAI that holds baseline, ``results/00m`` for example; the source when not given.
        grades: tables of KL grades as for ``oai``; those that lie in the tree when not given.
        covariates: tables with sex, age, body mass index and site, as for ``oai``.
        sides: right, left or both; or the file of a list, a subject and a side each line (``9001104,RIGHT``).
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`.

    Raises:
        ValueError: no label map or no image, a damaged table, or nothing that can be used.
        OSError: source or destination cannot be read or written.
    """
    source, destination = Path(source), Path(destination)
    shared["licence"] = shared.get("licence") or LICENCE
    tree = checked_folder(Path(images) if images else source)
    masks = find_masks(checked_folder(source))
    readings, given = read_tables(tree, grades)
    details = read_covariates(covariates) if covariates else Covariates()
    folds, common = read_folds(source), ImportOptions(**shared)
    with locked(destination, "oai-zib"):
        wanted = Wanted(("V00",), wanted_sides("sides", sides), series_pattern(SERIES))
        finder = SeriesFinder(tree, destination, wanted)
        listed = read_paths(source)
        missing: dict[str, str] = {}
        if listed:
            folders, missing = _listed(tree, listed, masks)
        else:
            folders = find_folders(tree, destination, common.progress)
        finder.look(folders)
        found, left_out = _paired(finder.chosen(), masks, missing, source)
        candidates = [knee_of(one, tree, readings if given else None, details) for one in found]
        notes = [*finder.notes(), *readings.notes, *grade_notes(candidates, readings, given)]
        candidates, damaged = unpack_all(candidates, destination, common.workers, common.progress)
        candidates = [_with_mask(item, masks[item.subject], folds) for item in candidates]
        options = {
            "images": str(tree), "grades": given, "covariates": bool(covariates),
            "sides": str(finder.wanted.sides),
        }  # fmt: skip
        result = finish_import(
            destination, candidates, [*finder.left_out, *left_out, *damaged], importer="oai-zib",
            source=source, options=options, notes=notes, **shared,
        )  # fmt: skip
        remove_unused(destination, candidates)
        return result


def find_masks(source: Path) -> dict[str, Path]:
    """Label maps by subject.

    Raises:
        ValueError: none, or two of one subject.
    """
    masks: dict[str, Path] = {}
    for path in sorted([*source.rglob("*.mhd"), *source.rglob("*.mha")]):
        match = re.match(r"(\d{7})\.", path.name)
        if match is None or path.name.startswith("."):
            continue
        if match[1] in masks:
            raise ValueError(
                f"{source}: two label maps of {match[1]}: {masks[match[1]]} and {path}; keep one"
            )
        masks[match[1]] = path
    if not masks:
        raise ValueError(f"{source}: expected label maps as 9001104.segmentation_masks.mhd, found none")
    return masks


def read_paths(source: Path) -> dict[str, str]:
    """The series of each subject as the data set lists them, empty if it does not.

    Raises:
        ValueError: a line of another kind.
    """
    found: dict[str, str] = {}
    for file in sorted(source.rglob(PATHS))[:1]:
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            match = re.search(r"[\w.]+/(\d{7})/(\d{8})/(\w+)", line)
            if match is None:
                raise ValueError(
                    f"{file}, line {number}: expected <id>: 0.C.2/9001104/<date>/<series>, got {line[:60]!r}"
                )
            found[match[1]] = match[0]
    return found


def read_folds(source: Path) -> dict[str, str]:
    """Fold of the published two-fold cross-validation, 1 or 2, by subject; empty without its lists."""
    folds: dict[str, str] = {}
    for file in sorted(source.rglob("2foldCrossValidation-List[12].txt")):
        for subject in re.findall(r"\b\d{7}\b", file.read_text(encoding="utf-8", errors="replace")):
            folds[subject] = file.stem[-1]
    return folds


def _listed(
    tree: Path, listed: Mapping[str, str], masks: Mapping[str, Path]
) -> tuple[list[SeriesFolder], dict[str, str]]:
    """Series that the data set lists, as far as they are in the tree, and for others what was looked for."""
    folders, missing = [], {}
    for subject in sorted(masks):
        name = listed.get(subject, "")
        tops = ("", "00m/", "results/00m/", "image03/00m/")
        places = [tree / f"{top}{name}{end}" for top in tops for end in ("", ARCHIVE)] if name else []
        place = next((path for path in places if path.exists()), None)
        if place is not None:
            folders.append(look_at(tree, place))
        else:
            where = f"its image {name} is not in the tree of images"
            missing[subject] = where if name else f"{PATHS} does not list it"
    first = next((listed[subject] for subject in sorted(masks) if subject in listed), "")
    if first and not folders:
        raise ValueError(
            f"{tree}: expected the series that {PATHS} lists, such as {first}, found none of {len(missing)}; "
            f"give the folder that holds {first.split('/')[0]} (--images)"
        )
    return folders, missing


def _paired(
    found: Sequence[OaiSeries], masks: Mapping[str, Path], missing: Mapping[str, str], source: Path
) -> tuple[list[OaiSeries], list[LeftOut]]:
    """Series with a label map, and the maps without a series, or with two."""
    groups: dict[str, list[OaiSeries]] = {}
    for one in found:
        groups.setdefault(one.subject, []).append(one)
    kept, out = [], []
    for subject, path in masks.items():
        group = groups.get(subject, [])
        name = path.relative_to(source).as_posix()
        if len(group) == 1:
            kept += group
        elif group:
            knees = " and ".join(one.side for one in group)
            reason = (
                f"series of the {knees} knee, and no {PATHS} that tells which it is of; choose one (--sides)"
            )
            out.append(LeftOut(name, "", subject, reason))
        else:
            reason = missing.get(subject, "no baseline DESS series of this subject that can be used")
            out.append(LeftOut(name, "", subject, reason))
    return kept, out


def _with_mask(item: Candidate, mask: Path, folds: Mapping[str, str]) -> Candidate:
    more = {"fold": folds.get(item.subject, "")} if folds else {}
    return replace(item, cartilage=mask, mask=ZibMask(item.side), covariates={**item.covariates, **more})
