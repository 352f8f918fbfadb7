from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

SHAPE = (24, 24, 28)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = (-46.0, -46.0, -54.0)


class Cohort:
    """Small right and left knees in a folder, with a table of them that a test changes before it is written.

    Femoral cartilage lies above the tibial ones; the medial one is towards the other knee.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            side = ("right", "left")[number % 2]
            name = f"{number:03d}"
            self.save(name, *self.knee(number, side))
            self.rows.append(
                {
                    "knee": name, "subject": f"s{number // 2:03d}", "side": side, "visit": "V00",
                    "mri": f"{name}.nii.gz", "cartilage": f"{name}-labels.nii.gz", "kl": number // 2 % 5,
                    "split": ("train", "val", "test")[number // 10 % 3], "sex": "FM"[number // 2 % 2],
                }
            )  # fmt: skip

    @staticmethod
    def knee(seed: int, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Intensities and labels of a knee."""
        labels = np.zeros(SHAPE, np.uint8)
        labels[5:19, 6:18, 16:18] = 2
        low, high = (4, 5) if side == "right" else (5, 4)
        labels[5:11, 6:18, 11:13] = low
        labels[13:19, 6:18, 11:13] = high
        noise = np.random.default_rng(seed).normal(100, 10, SHAPE)
        return (noise + 150 * (labels > 0)).astype(np.float32), labels

    def save(
        self, name: str, volume: np.ndarray | None = None, labels: np.ndarray | None = None,
        affine: np.ndarray = AFFINE,
    ) -> None:  # fmt: skip
        """Write one or both files of a knee."""
        if volume is not None:
            nib.save(nib.Nifti1Image(volume, affine), self.folder / f"{name}.nii.gz")
        if labels is not None:
            nib.save(nib.Nifti1Image(labels, affine), self.folder / f"{name}-labels.nii.gz")

    def volume(self, name: str) -> np.ndarray:
        """Voxels of a knee's volume."""
        return np.asarray(nib.load(self.folder / f"{name}.nii.gz").dataobj)

    def labels(self, name: str) -> np.ndarray:
        """Voxels of a knee's label map."""
        return np.asarray(nib.load(self.folder / f"{name}-labels.nii.gz").dataobj)

    def write(self) -> Path:
        """Write the manifest."""
        path = self.folder / "manifest.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            table.writeheader()
            table.writerows(self.rows)
        return path


@pytest.fixture
def cohort(tmp_path: Path) -> Callable[[int], Cohort]:
    """Makes a cohort of a number of knees without faults."""
    return lambda count=30: Cohort(tmp_path / "knees", count)
