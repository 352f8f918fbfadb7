"""The tree of the Osteoarthritis Initiative in miniature: DICOM series and tables with their traps."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miniature.dicom import write_dicom_series
from miniature.oaizib_cm import knee_volume

SPACING = (1.5, 1.4, 1.4)
KXR_COLUMNS = ("ID", "SIDE", "READPRJ", "VERSION", "V00BARCDBU", "V00XRKL", "V00XRJSM")
NDA_COLUMNS = ("subjectkey", "src_subject_id", "visit", "readprj", "side", "xrkl", "sex")


def sagittal(volume: np.ndarray, spacing: Sequence[float] = SPACING) -> tuple[np.ndarray, np.ndarray]:
    """A volume in RAS order as the scanner wrote it: columns to posterior, rows to inferior, slices to right.

    Returns:
        voxels ``(column, row, slice)`` and their affine.
    """
    turned = volume.transpose(1, 2, 0)[::-1, ::-1]
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2] = -spacing[1], -spacing[2], spacing[0]
    affine[:, 3] = [-15.0, 20.0, 18.0, 1.0]
    return turned, affine


def write_dess(
    folder: Path,
    side: str,
    *,
    grade: int = 2,
    seed: int = 0,
    shape: tuple[int, int, int] = (10, 24, 24),
    **tags: Any,
) -> Path:
    """One DESS series in ``.../<subject>/<date>/<series>``, files ``001``, ``002`` ... without an ending."""
    volume, _ = knee_volume(grade, seed, shape)
    turned, affine = sagittal(volume if side == "right" else volume[::-1])
    options = {
        "PatientID": folder.parent.parent.name,
        "StudyDate": folder.parent.name,
        "SeriesDescription": f"SAG_3D_DESS_{side.upper()}",
        "PatientName": "Doe^Jane",
    }
    write_dicom_series(folder, turned, affine, **{**options, **tags})
    return folder


def pack(folder: Path) -> Path:
    """A series as NDA packs it; the folder is gone."""
    target = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, folder.name)
    shutil.rmtree(folder)
    return target


def write_kxr(path: Path, rows: Iterable[Sequence[str]], visit: str = "V00") -> Path:
    """Readings as OAI exports them: vertical bars, a column for the grade of that visit."""
    columns = [name.replace("V00", visit) for name in KXR_COLUMNS]
    lines = ["|".join(columns)]
    for subject, side, project, grade in rows:
        lines.append("|".join([subject, side, project, "0.9", "016600000001", grade, "1: 1"]))
    path.write_bytes("\r\n".join([*lines, ""]).encode("cp1252"))
    return path


def write_nda(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    """Readings as NDA exports them: tabs, quoted cells, a second line of descriptions."""
    words = ["The NDAR Global Unique Identifier (GUID), for a subject", "Subject ID, how it's defined in lab",
             "Visit name", "Reading project", "Side", "KL grade", "Sex"]  # fmt: skip
    lines = [NDA_COLUMNS, words]
    for subject, visit, project, side, grade in rows:
        lines.append((f"NDAR_INV{subject}", subject, visit, project, side, grade, "F"))
    path.write_text("".join("\t".join(f'"{cell}"' for cell in line) + "\n" for line in lines))
    return path


def make_oai(folder: Path) -> Path:
    """Write ``results`` with three visits, and the tables beside it.

    9000099 has both knees at baseline and the right one after a year; 9000296 an odd matrix, and a left knee
    that lacks a slice; 9000622 a PatientID of somebody else; 9000798 a description that contradicts the
    header; 9001104 two right series, the second of which is cut short, and two whole left ones; 9001400 a
    packed series after two years, and one that is damaged. There are other series, notes and empty folders.
    """
    base = folder / "results" / "00m"
    write_dess(base / "0.C.2/9000099/20040908/10027612", "right", grade=2, seed=1)
    write_dess(base / "0.C.2/9000099/20040908/10027613", "left", grade=1, seed=2)
    write_dess(folder / "results/12m/1.C.2/9000099/20050912/10566112", "right", grade=3, seed=3)
    write_dess(base / "0.E.1/9000296/20040909/10693701", "right", grade=0, seed=4, shape=(11, 22, 24))
    lacking = write_dess(base / "0.E.1/9000296/20040909/10693702", "left", seed=5)
    (lacking / "006").unlink()
    write_dess(base / "0.C.2/9000622/20041011/10700001", "right", seed=6, PatientID="9000623")
    write_dess(base / "0.C.2/9000798/20041111/10700002", "left", seed=7, Laterality="R")
    write_dess(base / "0.E.1/9001104/20041201/10800001", "right", grade=4, seed=8)
    short = write_dess(base / "0.E.1/9001104/20041202/10800002", "right", grade=4, seed=9)
    for name in ("009", "010"):
        (short / name).unlink()
    write_dess(base / "0.E.1/9001104/20041201/10800003", "left", grade=0, seed=10)
    write_dess(base / "0.E.1/9001104/20041202/10800004", "left", grade=0, seed=11)
    later = folder / "results/24m/3.E.1/9001400/20061005"
    pack(write_dess(later / "11000001", "right", grade=1, seed=12))
    damaged = pack(write_dess(later / "11000002", "left", grade=1, seed=13))
    damaged.write_bytes(damaged.read_bytes()[: -(damaged.stat().st_size // 2)])
    _write_others(base)
    write_tables(folder)
    return folder


def _write_others(base: Path) -> None:
    """Series and files that are no DESS."""
    place = base / "0.C.2/9000099/20040908"
    for name, words in (("10027615", "COR_IW_TSE_RIGHT"), ("10027616", "PRESCRIPTION_LEFT")):
        write_dicom_series(
            place / name, np.arange(48).reshape(4, 4, 3), SeriesDescription=words, PatientID="9000099"
        )
    (place / "10027617").mkdir()
    (base / "contents.csv").write_text("Folder,ParticipantID\n0.C.2/9000099,9000099\n")
    (place / "10027612" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (base / "0.C.2/9000622/20041011/notes").mkdir()
    (base / "0.C.2/9000622/20041011/notes/readme.txt").write_text("no DICOM here")


def write_tables(folder: Path) -> None:
    """Readings of two visits, enrolment and clinical tables, with all that is odd in the real ones."""
    write_kxr(
        folder / "kxr_sq_bu00.txt",
        [
            ("9000099", "1: Right", "37", "3"),
            ("9000099", "1: Right", "15", "2: 2"),
            ("9000099", "2: Left", "15", ".P"),
            ("9000099", "2: Left", "42", "1"),
            ("9000296", "1: Right", "15", "0"),
            ("9000296", "2: Left", "15", ".: Missing Form/Incomplete Workbook"),
            ("9001104", "1: Right", "15", "4"),
            ("9001104", "1: Right", "15", "3"),
            ("9001104", "2: Left", "37", ".T"),
            ("9001104", "2: Left", "15", ".A: Not Expected"),
            ("9009999", "1: Right", "15", "."),
        ],
    )
    write_kxr(folder / "KXR_SQ_BU01.txt", [("9000099", "1: Right", "15", "3")], "V01")
    (folder / "Enrollees.txt").write_text(
        "ID|VERSION|P02SEX|V00SITE\n9000099|25|2: Female|C\n9000296|25|1: Male|D\n9001104|25|.|A\n"
    )
    (folder / "AllClinical00.txt").write_text(
        "id|V00AGE|P01BMI\n9000099|59|23.8\n9000296|69|.: Missing Form/Incomplete Workbook\n9001104|72|29.8\n"
    )
