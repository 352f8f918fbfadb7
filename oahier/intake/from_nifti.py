"""Importer of a folder of image files, with ids from their paths and grades from a table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Unpack

import pandas as pd

from oahier.images.formats import NIFTI, TEXT
from oahier.intake.candidate import ImportResult, LeftOut
from oahier.intake.from_table import KneeFinder, mask_step
from oahier.intake.journal import written_files
from oahier.intake.options import ImportKeywords, ImportOptions, read_ids, read_pairs, series_pattern
from oahier.intake.path_patterns import Template
from oahier.intake.spreadsheets import LabelTable, read_table, restore_zeros
from oahier.intake.table_rows import SIDE_WORDS, meaning, table_columns
from oahier.intake.write import finish_import

_KEYS = ("knee", "subject", "side", "visit")
_ENDINGS = tuple(ending for ending in (*NIFTI, *TEXT) if ending not in (".img", ".img.gz"))


def import_nifti(
    source: str | Path,
    destination: str | Path,
    *,
    pattern: str,
    grades: str | Path | None = None,
    cartilage: str = "",
    columns: Mapping[str, str] | str = "",
    values: Mapping[str, str] | str = "",
    covariates: str = "all",
    labels: Mapping[int, int] | str = "",
    resample_masks: bool = False,
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    r"""Import knees from a folder of NIfTI, NRRD or MetaImage files.

    The pattern says what the names mean: ``{subject}/{visit}_{side}.nii.gz`` reads subject, visit and side
    from every path; ``*`` is anything and ``**/`` any folders. A side is left, right, l or r, in any case.
    Files that fit neither pattern are left out and listed. Rows of the table of grades belong to the files
    with the same knee, subject, side and visit, as far as the table has these columns.

    Args:
        source: the folder.
        destination: folder for the manifest.
        pattern: paths of the images in the folder, with placeholders: subject, side, visit, knee, or a
            covariate.
        grades: table (CSV, Excel or SAS) with the grades; knees without a row have none.
        cartilage: pattern of the paths of the label maps, with the same placeholders.
        columns: for a manifest's column, or a covariate, the table's: ``subject=ID,kl=grade``.
        values: mapping of codes to values: ``side.1=right,side.2=left,kl.KL2=2``.
        covariates: further columns of the table to keep: ``all``, ``none``, or names with commas between.
        labels: our ids for those of the label maps: ``1=2,2=4,3=5``; 0 leaves one out.
        resample_masks: bring label maps onto the image's grid by the nearest voxel.
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`.

    Raises:
        ValueError: a pattern that no file fits, a table that cannot be joined, or no knee can be used.
        OSError: source or destination cannot be read or written.
    """
    source, codes, common = Path(source), read_pairs("values", values), ImportOptions(**shared)
    if not source.is_dir():
        raise ValueError(
            f"{source}: expected a folder of image files, got {'a file' if source.is_file() else 'nothing'}"
        )
    own = written_files(Path(destination))
    templates = Template(pattern, source, own), Template(cartilage, source, own)
    files, left_out = _read_paths(*templates, codes)
    given, notes = read_pairs("columns", columns), list[str]()
    table = LabelTable(source, pd.DataFrame(files, dtype=str))
    if grades is not None:
        labels_of = read_table(grades)
        keys = _keys(labels_of, given, templates[0])
        table, notes, apart = joined(files, labels_of, keys, codes)
        left_out += apart
        given = {ours: theirs for ours, theirs in given.items() if ours not in keys}
    finder = KneeFinder(
        source, Path(destination), table_columns(table, given, covariates), "", cartilage,
        series_pattern(""), mask_step(read_ids("labels", labels), resample_masks),
        common.kinds, [*table.notes, *notes],
    )  # fmt: skip
    candidates, wrong = finder.candidates(table, codes, lambda row: row.get("mri"))
    options = {
        "pattern": pattern, "grades": None if grades is None else str(grades), "cartilage": cartilage,
        "columns": given, "values": codes, "labels": read_ids("labels", labels),
        "resample_masks": resample_masks,
    }  # fmt: skip
    return finish_import(
        destination, candidates, [*left_out, *wrong], importer="nifti", source=source,
        options=options, notes=finder.notes, **shared,
    )  # fmt: skip


def _read_paths(
    images: Template, maps: Template, codes: Mapping[str, str]
) -> tuple[list[dict[str, str]], list[LeftOut]]:
    """The placeholders and the path ``mri`` of every image, and the files that fit no pattern.

    Raises:
        ValueError: no name of a knee in the pattern, or no file fits it.
    """
    if not {"subject", "knee"} & set(images.columns):
        raise ValueError(
            f"pattern: expected {{subject}} or {{knee}} in it, as in '{{subject}}_{{side}}.nii.gz', got "
            f"{images.pattern!r}"
        )
    sides = [*SIDE_WORDS, *(key.partition(".")[2] for key in codes if key.startswith("side."))]
    kinds = {"side": f"(?i:{'|'.join(sorted(map(re.escape, sides), key=len, reverse=True))})"}
    found, others = [], []
    names = sorted(_image_files(images.root, images.skip))
    for name in names:
        cells = {} if maps.read(name, kinds) else images.read(name, kinds)
        if cells:
            found.append({**cells, "mri": name})
        elif not maps.read(name, kinds):
            others.append(LeftOut(name, "", "", f"the path does not fit {images.pattern}"))
    if not found:
        shown = ", ".join(names[:3]) or f"none that ends in {', '.join(_ENDINGS)}"
        raise ValueError(
            f"pattern: no file in {images.root} fits {images.pattern!r}; its {len(names)} image files are "
            f"{shown}{', ...' if len(names) > 3 else ''}"
        )
    return found, others


def _image_files(root: Path, skip: frozenset[str]) -> Iterator[str]:
    """Paths of the image files in a folder and the folders in it, links to folders included."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        seen.add(os.path.realpath(folder))
        folders[:] = [name for name in folders if os.path.realpath(Path(folder, name)) not in seen]
        for name in names:
            path = Path(folder, name)
            if name.lower().endswith(_ENDINGS) and os.path.realpath(path) not in skip:
                yield path.relative_to(root).as_posix()


def _keys(grades: LabelTable, given: Mapping[str, str], images: Template) -> dict[str, str]:
    """The table's columns by which its rows find their files, by our names.

    Raises:
        ValueError: it has none.
    """
    known = {ours: grades.column(given.get(ours, ours), required=ours in given) for ours in _KEYS}
    keys = {ours: theirs for ours, theirs in known.items() if theirs and ours in images.columns}
    if not keys:
        wanted = ", ".join(name for name in images.columns if name in _KEYS)
        raise ValueError(
            f"{grades.path}: expected a column with the {wanted} of the pattern {images.pattern} (--columns "
            f"{images.columns[0]}=...), got {', '.join(map(str, grades.cells))}"
        )
    return keys


def joined(
    files: list[dict[str, str]], grades: LabelTable, keys: Mapping[str, str], codes: Mapping[str, str]
) -> tuple[LabelTable, list[str], list[LeftOut]]:
    """Files with the cells of the one row of a table that has their keys; files without a row have no cells.

    Args:
        files: the placeholders and the path ``mri`` of each.
        grades: the table.
        keys: its column for each placeholder that both have.
        codes: mapping of codes to values.

    Returns:
        the files that no more than one row fits, as a table; notes; and the other files and rows.

    Raises:
        ValueError: ids that lost leading zeros could mean two things.
    """
    notes: list[str] = []
    restored: dict[str, dict[str, str]] = {}
    for ours in set(keys) & {"knee", "subject"}:
        ids = [cell for cell in grades.cells[keys[ours]] if cell]
        restored[ours], said = restore_zeros(ids, {file[ours] for file in files})
        notes += said

    def key(cells: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, ...]:
        found = ((ours, cells[theirs]) for ours, theirs in names.items())
        return tuple(_key(ours, cell, codes, restored.get(ours, {})) for ours, cell in found)

    rows: dict[tuple[str, ...], list[tuple[int, dict[str, str]]]] = {}
    for number, cells in grades.rows():
        rows.setdefault(key(cells, keys), []).append((number, cells))
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for file in files:
        groups.setdefault(key(file, {ours: ours for ours in keys}), []).append(file)
    taken = {name.lower() for name in files[0]} | {theirs.lower() for theirs in keys.values()}
    others = [str(name) for name in grades.cells if str(name).lower() not in taken]
    kept, index, apart = [], [], []
    for values, same in groups.items():
        found = rows.pop(values, [])
        if found and len(found) + len(same) > 2:
            numbers = ", ".join(str(number) for number, _ in found[:4])
            reason = (
                f"{len(found)} rows ({numbers}) of {grades.path.name} and {len(same)} files have the same "
                f"{', '.join(keys)}; name the columns that tell them apart (--columns side=...,visit=...)"
            )
            apart += [LeftOut(file["mri"], "", file.get("subject", ""), reason) for file in same]
            continue
        number, cells = found[0] if found else (2, dict.fromkeys(map(str, grades.cells), ""))
        for file in same:
            kept.append({**file, **{name: cells[name] for name in others}})
            index.append(number - 2)
    for values, lost in rows.items():
        named = dict(zip(keys, values, strict=True))
        shown = ", ".join(f"{ours} {value!r}" for ours, value in named.items())
        apart += [
            LeftOut(f"{grades.path.name} row {number}", "", named.get("subject", ""), f"no file with {shown}")
            for number, _ in lost
        ]
    columns = [*files[0], *others]
    frame = pd.DataFrame(kept, columns=columns, index=index, dtype=str)
    return LabelTable(grades.path, frame, grades.notes), notes, apart


def _key(ours: str, cell: str, codes: Mapping[str, str], restored: Mapping[str, str]) -> str:
    """A cell as files and rows are compared by."""
    own = {key.partition(".")[2]: value for key, value in codes.items() if key.startswith(f"{ours}.")}
    value = meaning(cell, own)
    return SIDE_WORDS.get(value.lower(), value) if ours == "side" else restored.get(value, value)
