from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from oahier.data import KneeMRIDataModule

RIGHT_TO_LEFT = np.diag([-2.0, 1.5, 1.0, 1.0])


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray = RIGHT_TO_LEFT) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def make_knees(folder: Path, count: int, *, cartilage: bool = True) -> Path:
    """Two knees a subject, with a bright slab that the label map marks; grades 0-4 in turn by subject."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        volume = generator.normal(size=(12, 16, 20)).astype(np.float32)
        labels = np.zeros(volume.shape, dtype=np.uint8)
        labels[4:9, 5:12, 8:12] = 2
        volume[labels == 2] += 8
        write_nifti(folder / f"{number:03d}.nii.gz", volume)
        row = {"knee": f"{number:03d}", "subject": f"0{number // 2:02d}", "mri": f"{number:03d}.nii.gz"}
        if cartilage:
            write_nifti(folder / f"{number:03d}-labels.nii.gz", labels)
            row["cartilage"] = f"{number:03d}-labels.nii.gz"
        rows.append({**row, "kl": number // 2 % 5})
    return write_csv(folder / "manifest.csv", rows)


@pytest.fixture(scope="session")
def knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 20 knees of 10 subjects, with label maps; not to be changed."""
    return make_knees(tmp_path_factory.mktemp("knees"), 20)


@pytest.fixture
def some_knees(tmp_path: Path) -> Callable[..., Path]:
    """Makes a manifest of knees that a test may damage."""
    return lambda count=4, **options: make_knees(tmp_path / "some", count, **options)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(knees: Path, cache: Path) -> Callable[..., KneeMRIDataModule]:
    def build(manifest: Any = knees, stage: str | None = "fit", **options: Any) -> KneeMRIDataModule:
        options = {
            "shape": (8, 10, 12),
            "spacing": (2.0, 1.5, 1.0),
            "cache": cache,
            "batch_size": 3,
            **options,
        }
        data = KneeMRIDataModule(manifest, **options)
        if stage is not None:
            data.prepare_data()
            data.setup(stage)
        return data

    return build
