"""OAIZIB-CM in miniature: its folders, names and tables with their traps, and knees of a few voxels."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import openpyxl

COLUMNS = ("SubjectID", "CMT-ID", "Path", "MRBarCode", "KneeSide", "KLGrade", "Gender", "Age", "BMI")
SPACING = np.array([1.5, 1.4, 1.4])
FIRST = {"Tr": 1, "Ts": 405}
AXES = ("PIR", "RAS", "LPS", "ASR")
"""Orders in which volumes are stored, one after the other."""


def knee_volume(
    grade: int, seed: int, shape: tuple[int, int, int] = (20, 28, 28), side: str = "right"
) -> tuple[np.ndarray, np.ndarray]:
    """MRI (int16) and label map of a knee in RAS order; the gap narrows with the grade."""
    i, j, k = (np.linspace(-1, 1, count)[:, None, None].swapaxes(0, axis) for axis, count in enumerate(shape))
    gap = 0.05 + 0.03 * (4 - grade)
    surface = 0.06 * np.cos(3 * i) + 0 * j
    inside = (np.abs(i) < 0.8) & (np.abs(j) < 0.7)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[inside & (k > surface + gap + 0.15)] = 1
    labels[inside & (k > surface + gap) & (k <= surface + gap + 0.15)] = 2
    labels[inside & (k < surface - gap - 0.15)] = 3
    tibial = inside & (k < surface - gap) & (k >= surface - gap - 0.15)
    medial = i < 0 if side == "right" else i >= 0  # of a right knee, medial is to the patient's left
    labels[tibial & medial] = 4
    labels[tibial & ~medial] = 5
    levels = np.array([60, 160, 420, 150, 400, 400])
    noise = np.random.default_rng(seed).normal(0, 12, shape)
    return np.clip(levels[labels] + noise, 1, None).astype(np.int16), labels


def write_knee(path: Path, labels_path: Path | None, grade: int, seed: int, **options: Any) -> None:
    """Write a knee and its map, stored in another order of axes for every seed."""
    volume, labels = knee_volume(grade, seed, **options)
    affine = nib.affines.from_matvec(np.diag(SPACING), [-20.0, 5.0 + seed, -18.0])
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(AXES[seed % len(AXES)]))
    )
    for target, values in ((path, volume), (labels_path, labels)):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, affine).as_reoriented(turn), target)


def sorted_grades(count: int, unknown: int = 1) -> list[int | None]:
    """Grades as the real tables have them: sorted, those that are unknown last."""
    return [*sorted(number % 5 for number in range(count - unknown)), *[None] * unknown]


def make_oaizib_cm(
    folder: Path,
    *,
    train: int = 11,
    test: int = 6,
    unknown: int = 1,
    tables: str = "xlsx",
    info: bool = True,
) -> Path:
    """Write the data set without faults, but with what is unusual in the real one.

    Grades are sorted by case, the last of each split is unknown; BMI 0 and blank, bar codes with a leading
    zero (in workbooks some have lost it, being numbers), ids as numbers, a left knee (the second of each
    split), other axes for every knee, and one odd matrix size.

    Args:
        folder: made if missing.
        train: knees in the training split, numbered from 1.
        test: knees in the test split, numbered from 405.
        unknown: knees without a grade in each split.
        tables: ``xlsx`` or ``csv``.
        info: tables in ``info``, otherwise in the root.
    """
    for split, name, count in (("Tr", "train", train), ("Ts", "test", test)):
        rows = []
        for number, grade in enumerate(sorted_grades(count, unknown)):
            case = FIRST[split] + number
            odd: dict[str, Any] = {1: {"side": "left"}, 2: {"shape": (19, 27, 28)}}.get(number, {})
            write_knee(
                folder / f"images{split}" / f"oaizib_{case:03d}_0000.nii.gz",
                folder / f"labels{split}" / f"oaizib_{case:03d}.nii.gz",
                2 if grade is None else grade,
                case,
                **odd,
            )
            rows.append(table_row(case, number, grade, as_text=tables == "csv"))
        write_rows((folder / "info" if info else folder) / f"subInfo_{name}.{tables}", rows)
    return folder


def table_row(case: int, number: int, grade: int | None, as_text: bool) -> list[Any]:
    """A row as the real tables have it."""
    barcode: Any = f"01661{case:07d}"
    if number % 3 == 1 and not as_text:
        barcode = int(barcode)
    bmi: Any = {3: 0, 4: None}.get(number % 7, 24.5 + number)
    subject: Any = 9000000 + 37 * case
    return [
        str(subject) if as_text else subject,
        f"oaizib_{case:03d}",
        f"0.C.2/{subject}/20050{1 + number % 9}14/10{case:06d}",
        barcode,
        2 if number == 1 else 1,
        grade,
        1 + number % 2,
        45 + number,
        bmi,
    ]


def write_rows(path: Path, rows: list[list[Any]], columns: tuple[str, ...] = COLUMNS) -> Path:
    """A table as a workbook or as comma-separated values, by the name of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([columns, *rows])
        return path
    book = openpyxl.Workbook()
    for row in [columns, *rows]:
        book.active.append(list(row))
    book.save(path)
    return path


def read_rows(path: Path) -> list[list[Any]]:
    """Rows of a workbook below its header."""
    return [list(row) for row in openpyxl.load_workbook(path).active.iter_rows(min_row=2, values_only=True)]


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    """Pack a folder, as a download is packed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path != target:
                archive.write(path, prefix + path.relative_to(folder).as_posix())
    return target
