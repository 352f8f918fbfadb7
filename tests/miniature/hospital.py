"""A hospital's export in miniature: DICOM files of several studies, and a spreadsheet's table of grades."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miniature.dicom import write_dicom_series

SERIES = "DESS_sag_3D"
SAGITTAL = np.array([[0.0, 0, 1.5, -9], [-1.2, 0, 0, 12], [0, -1.2, 0, 12], [0, 0, 0, 1]])
"""Rows to posterior, columns to inferior, slices from right to left or the other way: millimetres RAS+."""


def knee_volume(seed: int, kl: int = 0) -> np.ndarray:
    """``(20, 20, 12)``: two bright blocks whose gap narrows with the grade, in noise."""
    generator = np.random.default_rng(seed)
    volume = generator.integers(40, 90, (20, 20, 12)).astype(np.int16)
    volume[5:15, 2:8, 2:10] += 400
    volume[5:15, 13 - kl : 18, 2:10] += 500
    return volume


def make_hospital(folder: Path, patients: int = 3) -> Path:
    """Write ``export`` and ``grades.csv``; the first three patients carry the traps.

    - every study has a localizer and a report beside the series of the knee;
    - ``P001`` has both knees and a second study of the right one;
    - ``P002``: the right knee's two series lie in one folder; the left knee lacks a slice;
    - ``P003``: the table says left, the header right; another knee is in no table;
    - the table is separated by semicolons, in Windows-1252, with German headers.
    """
    export = folder / "export"
    rows = ["MRN;Seite;KL-Grad;Geschlecht;Größe"]
    for number in range(1, patients + 1):
        name = f"P{number:03d}"
        study = export / name / "20240105"
        _localizer(study / "loc", name)
        (study / "report.pdf").write_bytes(b"%PDF-1.4 no image")
        for side, word in (("R", "rechts"), ("L", "links")):
            kl = (number + (side == "L")) % 5
            if number == 3 and side == "L":
                continue
            _series(study / f"dess{side}", name, side, 10 * number + (side == "L"), kl)
            rows.append(f"{name};{word};{kl};{'w' if number % 2 else 'm'};1,{60 + number % 40}")
    if patients >= 3:
        _traps(export)
        rows = [row.replace("P003;rechts", "P003;links") for row in rows]
    (export / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "grades.csv").write_bytes("\r\n".join(rows).encode("cp1252"))
    return export


def _traps(export: Path) -> None:
    _series(export / "P001" / "20250110" / "dessR", "P001", "R", 999, 2, StudyDate="20250110")
    together = export / "P002" / "20240105" / "dessR"
    for path in (export / "P002" / "20240105" / "loc").iterdir():
        path.rename(together / f"loc{path.name}")
    (export / "P002" / "20240105" / "dessL" / "006").unlink()
    _series(export / "P004" / "20240105" / "dessR", "P004", "R", 44, 1)


def _series(folder: Path, patient: str, side: str, seed: int, kl: int, **tags: str) -> None:
    affine = SAGITTAL @ np.diag([1, 1, 1 if side == "R" else -1, 1])
    person = {"PatientID": patient, "PatientName": "Mustermann^Erika", "PatientBirthDate": "19500101"}
    write_dicom_series(
        folder, knee_volume(seed, kl), affine, SeriesDescription=SERIES, Laterality=side,
        **{"StudyDate": "20240105", **person, **tags},
    )  # fmt: skip


def _localizer(folder: Path, patient: str) -> None:
    volume = np.random.default_rng(0).integers(0, 200, (16, 16, 3)).astype(np.int16)
    write_dicom_series(
        folder, volume, np.diag([4.0, 4.0, 10.0, 1.0]), PatientID=patient, SeriesDescription="localizer",
        PatientName="Mustermann^Erika", StudyDate="20240105",
    )  # fmt: skip
