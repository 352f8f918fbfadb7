"""More of the OAI in miniature: all visits of the study, odd matrix sizes, and a cohort to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miniature.dicom import write_dicom_series
from miniature.oai import write_dess, write_kxr

MONTHS = {"V00": "00m", "V01": "12m", "V03": "24m", "V05": "36m", "V06": "48m", "V08": "72m", "V10": "96m"}
YEARS = {"V00": 2004, "V01": 2005, "V03": 2006, "V05": 2007, "V06": 2008, "V08": 2010, "V10": 2012}
SHAPE = (10, 24, 24)
"""Slices, columns, rows: a sixteenth of the nominal 160 x 384 x 384."""

ODD_SHAPES = ((10, 22, 24), (11, 24, 24), (9, 24, 24))
"""As 160 x 384 x 352, 176 x 384 x 384 and 159 x 384 x 384."""

BASELINE = (
    ("9000099", "1: Right", "37", "3: 3"),  # read in two projects, the one to take standing second
    ("9000099", "1: Right", "15", "2: 2"),
    ("9000099", "2: Left", "15", ".: Missing Form/Incomplete Workbook"),
    ("9000099", "2: Left", "37", "1"),
    ("9000296", "1: Right", "15", ".P"),
    ("9000296", "2: Left", "42", "0: 0"),
    ("9000296", "2: Left", "37", "4: 4"),
    ("9000622", "1: Right", "15", "2: 2"),
    ("9000622", "2: Left", "15", "2: 2"),
    ("9000798", "1: Right", "15", "3"),
    ("9000798", "2: Left", "15", "3"),
    ("71234", "1: Right", "15", "0"),  # leading zeros lost
    ("71234", "2: Left", "15", ".T: Technical Problems"),
    ("9001104", "1: Right", "15", "2"),  # one project, two grades
    ("9001104", "1: Right", "15", "3"),
    ("9001400", "1: Right", "15", ".A"),
)
"""Readings of the first visit: id, side, project, KL."""

LATER = {
    "V01": [
        ("9000099", "1: Right", "15", "2"),
        ("9000099", "2: Left", "15", ".D"),
        ("9000296", "1", "15", ".M"),
    ],
    "V03": [("9000099", "1: Right", "15", "3: 3"), ("0071234", "1: Right", "15", "1: 1")],
    "V05": [("9001104", "1: Right", "15", "3"), ("9001104", "1: Right", "37", "2")],
    "V06": [("9001104", "1: Right", "15", "3"), ("9001104", "1: Right", "15", "3")],
    "V08": [("9001104", "1: Right", "42", "4"), ("9001104", "1: Right", "37", ".")],
    "V10": [("9001104", "1: Right", "42", "4")],
}
"""Readings of later visits."""


def place(folder: Path, visit: str, subject: str, series: str, day: str = "0314") -> Path:
    """``results/00m/0.C.2/9000099/20040314/10000001`` in the tree."""
    release = f"{int(visit[1:])}.C.2"
    return folder / "results" / MONTHS[visit] / release / subject / f"{YEARS[visit]}{day}" / series


def make_oai_years(folder: Path) -> Path:
    """Write ``results`` and ``tables``, with the traps of the real ones.

    Person 9000099 has both knees at V00 and V01, the right one at V03; 9000296 has two series of both knees,
    of which the later left one lacks a slice; both series of 9000622 are faulty (a slice is missing; the
    description says left, the header right), and those of 9000798 too (another person's PatientID; a slice
    that is cut off); 0071234 has odd matrix sizes; 9001104 was there from V05 to V10, too; of 9001400 the
    header of the right knee's series is damaged, and the left one has no row in the tables.
    """
    _ordinary(folder)
    _doubled(folder)
    _faulty(folder)
    for number, (visit, side) in enumerate((("V00", "right"), ("V00", "left"), ("V03", "right"))):
        path = place(folder, visit, "0071234", f"1003000{number}")
        write_dess(path, side, grade=number, seed=30 + number, shape=ODD_SHAPES[number])
    for number, visit in enumerate(("V00", "V05", "V06", "V08", "V10")):
        path = place(folder, visit, "9001104", f"1004000{number}")
        write_dess(path, "right", grade=min(number, 4), seed=40 + number)
    tables = folder / "tables"
    tables.mkdir(parents=True)
    write_kxr(tables / "kxr_sq_bu00.txt", BASELINE)
    for visit, rows in LATER.items():
        write_kxr(tables / f"kxr_sq_bu{visit[1:]}.txt", rows, visit)
    lower = tables / "kxr_sq_bu03.txt"
    header, rest = lower.read_bytes().split(b"\r\n", 1)
    lower.write_bytes(header.lower() + b"\r\n" + rest)
    (tables / "readme.txt").write_text("Not a table of grades.\n")
    return folder


def _ordinary(folder: Path) -> None:
    person = "9000099"
    plan = (("V00", "right"), ("V00", "left"), ("V01", "right"), ("V01", "left"), ("V03", "right"))
    for number, (visit, side) in enumerate(plan):
        path = place(folder, visit, person, f"1000000{number}")
        write_dess(path, side, grade=2 + (visit == "V03"), seed=number)
    others: dict[str, dict[str, Any]] = {
        "AX_LOCALIZER": {}, "SAG_T2_MAP_RIGHT": {}, "MPR_RIGHT": {}, "PA_FIXED_FLEXION": {"Modality": "CR"},
    }  # fmt: skip
    for number, (description, tags) in enumerate(others.items()):
        path = place(folder, "V00", person, f"1000001{number}")
        voxels = np.arange(128, dtype=np.int16).reshape(8, 8, 2)
        write_dicom_series(path, voxels, PatientID=person, SeriesDescription=description, **tags)
    there = place(folder, "V00", person, "10000000")
    (there / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (there.parent / "10000019").mkdir()
    (there.parents[2] / "contents.092").write_text("10000000 SAG_3D_DESS_RIGHT\n")


def _doubled(folder: Path) -> None:
    person = "9000296"
    write_dess(place(folder, "V00", person, "10010001", "0314"), "right", grade=1, seed=11)
    write_dess(place(folder, "V00", person, "10010000", "0502"), "right", grade=1, seed=12)  # later: used
    write_dess(place(folder, "V00", person, "10010002", "0314"), "left", grade=4, seed=13)  # whole: used
    lacking = write_dess(place(folder, "V00", person, "10010003", "0502"), "left", grade=4, seed=14)
    (lacking / "005").unlink()


def _faulty(folder: Path) -> None:
    lacking = write_dess(place(folder, "V00", "9000622", "10020000"), "right", seed=20)
    (lacking / "005").unlink()
    write_dess(place(folder, "V00", "9000622", "10020001"), "left", seed=21, Laterality="R")
    write_dess(place(folder, "V00", "9000798", "10020002"), "right", seed=22, PatientID="9000799")
    cut = write_dess(place(folder, "V00", "9000798", "10020003"), "left", seed=23) / "006"
    cut.write_bytes(cut.read_bytes()[:-500])
    damaged = write_dess(place(folder, "V00", "9001400", "10020004"), "right", seed=24)
    for file in damaged.iterdir():
        file.write_bytes(file.read_bytes()[:150])
    write_dess(place(folder, "V00", "9001400", "10020005"), "left", seed=25)


def make_oai_cohort(
    folder: Path,
    people: int = 30,
    visits: Sequence[str] = ("V00", "V03"),
    shape: tuple[int, int, int] = SHAPE,
    grade: Callable[[int, str, str], int] | None = None,
) -> Path:
    """Write a tree without faults: both knees of everybody at some visits, with grades that may rise.

    Args:
        folder: made if missing; gets ``results`` and ``tables``.
        people: numbered from 9000100.
        visits: codes.
        shape: slices, columns, rows.
        grade: KL of a person's number, side and visit; when not given, every grade occurs, and half of the
            right knees are worse by one at the last visit.
    """
    grade = grade or _rising(visits)
    (folder / "tables").mkdir(parents=True)
    for visit in visits:
        rows = []
        for number in range(people):
            person = str(9000100 + 37 * number)
            for second, side in enumerate(("right", "left")):
                found, seed = grade(number, side, visit), 2 * number + second
                path = place(folder, visit, person, f"{10000000 + seed}")
                write_dess(path, side, grade=found, seed=1000 * int(visit[1:]) + seed, shape=shape)
                rows.append((person, f"{1 + second}: {side.capitalize()}", "15", f"{found}: {found}"))
        write_kxr(folder / "tables" / f"kxr_sq_bu{visit[1:]}.txt", rows, visit)
    return folder


def _rising(visits: Sequence[str]) -> Callable[[int, str, str], int]:
    def grade(number: int, side: str, visit: str) -> int:
        worse = side == "right" and number % 2 == 0 and visit == visits[-1] and len(visits) > 1
        return min(4, (number + (side == "left")) % 5 + worse)

    return grade
