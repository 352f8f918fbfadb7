"""Importer of OAIZIB-CM: 507 baseline knees of the OAI with label maps (CartiMorph)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from oahier.intake.candidate import Candidate, ImportResult, LeftOut
from oahier.intake.destination import locked
from oahier.intake.oaizib_cm_table import candidates_of, knee_name, read_rows
from oahier.intake.options import ImportKeywords, ImportOptions
from oahier.intake.source_files import SourceFiles
from oahier.intake.write import finish_import

LICENCE = "CC BY-NC 4.0"

_FOLDERS = {"imagestr": ("mri", "train"), "imagests": ("mri", "test"), "labelstr": ("cartilage", "train"),
            "labelsts": ("cartilage", "test")}  # fmt: skip
_FILES = {
    "mri": re.compile(r"oaizib_(\d+)_0000\.nii(\.gz)?"),
    "cartilage": re.compile(r"oaizib_(\d+)\.nii(\.gz)?"),
}


def import_oaizib_cm(
    source: str | Path,
    destination: str | Path,
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    """Import OAIZIB-CM as downloaded: unpacked, as a zip archive, or as a folder of archives.

    Expected are ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` and the tables ``subInfo_train`` and
    ``subInfo_test`` (``.xlsx`` or ``.csv``, in ``info`` or beside). Knees keep their names
    (``oaizib_001``), their splits are the published train and test (take validation knees from train with
    ``oahier data split``), and knees without a grade are kept. The cases are sorted by grade within each
    split: never take the first or the last of them.
    Files are used where they lie; only members of archives are extracted, to ``destination``.

    Args:
        source: folder or archive.
        destination: folder for the manifest.
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`.

    Raises:
        ValueError: no table or no image, unknown columns, an unsafe archive, or nothing that can be used.
        OSError: source or destination cannot be read or written.
    """
    source, destination = Path(source), Path(destination)
    shared["licence"] = shared.get("licence") or LICENCE
    files, common = SourceFiles(source, destination), ImportOptions(**shared)
    with locked(destination, "oaizib-cm"):
        found, left_out = _images(files)
        notes: list[str] = []
        rows = list(read_rows(files, notes))
        if not found["mri"]:
            raise ValueError(
                f"{source}: expected imagesTr/oaizib_001_0000.nii.gz and so on, found no image of that name"
            )
        candidates, reasons = candidates_of(rows, found["mri"], notes)
        left_out += reasons
        candidates, reasons = _with_files(candidates, found, files, notes, common.progress)
        left_out += reasons
        return finish_import(
            destination, candidates, left_out, importer="oaizib-cm", source=source, notes=notes,
            **shared,
        )  # fmt: skip


Found = dict[str, dict[int, dict[str, str]]]
"""Names of files by column, case and split."""


def _images(files: SourceFiles) -> tuple[Found, list[LeftOut]]:
    found: Found = {"mri": {}, "cartilage": {}}
    left_out = []
    for name in files.names:
        *folders, last = name.split("/")
        kinds = [
            _FOLDERS[part] for part in (f.lower().removesuffix(".zip") for f in folders) if part in _FOLDERS
        ]
        if not kinds or not last.lower().endswith((".nii", ".nii.gz")):
            continue
        column, split = kinds[-1]
        match = _FILES[column].fullmatch(last.lower())
        if match is None:
            left_out.append(
                LeftOut(name, "", "", f"expected a name as {_FILES[column].pattern}, got {last!r}")
            )
            continue
        splits = found[column].setdefault(int(match[1]), {})
        if split not in splits:
            splits[split] = name
        elif files.archived(splits[split]) or not files.archived(name):
            left_out.append(
                LeftOut(name, knee_name(int(match[1])), "", f"there is also {splits[split]}, which is used")
            )
    return found, left_out


def _with_files(
    candidates: list[Candidate], found: Found, files: SourceFiles, notes: list[str], progress: bool
) -> tuple[list[Candidate], list[LeftOut]]:
    """Candidates with the paths of their files, which are extracted if they lie in archives."""
    names = {}
    for item in candidates:
        case = int(item.knee.removeprefix("oaizib_"))
        names[item.knee] = found["mri"][case][item.split], found["cartilage"].get(case, {}).get(item.split)
    left_out = _labels_alone(found)
    targets = {}
    for knee, (mri, cartilage) in names.items():
        targets[mri] = f"images/{knee}_0000{_suffix(mri)}"
        if cartilage:
            targets[cartilage] = f"cartilage/{knee}{_suffix(cartilage)}"
    paths, lost = files.take(targets, progress)
    kept, without = [], 0
    for item in candidates:
        mri, cartilage = names[item.knee]
        reason = lost.get(mri) or lost.get(cartilage or "")
        if reason:
            left_out.append(LeftOut(mri, item.knee, item.subject, reason))
            continue
        without += cartilage is None
        kept.append(
            replace(item, mri=paths[mri], cartilage=paths[cartilage] if cartilage else None, source=mri)
        )
    if without:
        notes.append(f"{without} knees have no label map in labelsTr or labelsTs; they are kept without one")
    return kept, left_out


def _suffix(name: str) -> str:
    return ".nii.gz" if name.lower().endswith(".gz") else ".nii"


def _labels_alone(found: Found) -> list[LeftOut]:
    return [
        LeftOut(name, knee_name(case), "", "a label map without an image of that number in the same split")
        for case, splits in sorted(found["cartilage"].items())
        for split, name in splits.items()
        if split not in found["mri"].get(case, {})
    ]
