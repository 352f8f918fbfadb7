"""A study of two tiny cells."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from oahier.statistics.jackknife import leave_out
from oahier.study import Study
from oahier.study.pairs import pairs

SHAPE = (12, 14, 12)


def load(path: Path) -> ModuleType:
    """A helper beside the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return load(Path(__file__).with_name("synthetic_study.py"))


@pytest.fixture
def compared_thrice(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, Study], list[Any]]:
    """Lets a module find the only pair of a study three times; gives what it leaves subjects out of."""

    def apply(module: ModuleType, study: Study) -> list[Any]:
        calls: list[Any] = []
        monkeypatch.setattr(module, "leave_out", lambda *given: calls.append(given) or leave_out(*given))
        (once,) = pairs(study)
        monkeypatch.setattr(module, "pairs", lambda _: [once] * 3)
        return calls

    return apply


@pytest.fixture(scope="session")
def knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty tiny volumes whose brightness follows the grade, with a slab of cartilage."""
    folder = tmp_path_factory.mktemp("knees")
    generator = np.random.default_rng(0)
    cartilage = np.zeros(SHAPE, dtype=np.uint8)
    cartilage[:, :, 5:7] = 2
    nib.save(nib.Nifti1Image(cartilage, np.diag([2.0, 2.0, 2.0, 1.0])), folder / "labels.nii.gz")
    rows = [["knee", "subject", "mri", "cartilage", "kl", "split"]]
    for index in range(30):
        volume = generator.normal(size=SHAPE).astype(np.float32)
        volume[:6] += index % 5
        name = f"knee-{index:02d}"
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 2.0, 1.0])), folder / f"{name}.nii.gz")
        split = ("train", "train", "train", "val", "test", "test")[index // 5]
        rows.append(
            [
                name,
                f"subject-{index // 2}" if split == "test" else name,
                f"{name}.nii.gz",
                "labels.nii.gz",
                index % 5,
                split,
            ]
        )
    path = folder / "knees.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def base(knees: Path) -> dict[str, Any]:
    return {
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
        "model": {
            "encoder": {
                "class_path": "oahier.ResNet3D",
                "init_args": {"depth": 10, "width": 8, "norm": "group"},
            },
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001}},
        },
        "data": {"manifest": str(knees), "shape": list(SHAPE), "batch_size": 4},
    }


@pytest.fixture
def write_plan(tmp_path: Path, base: dict[str, Any]) -> Callable[..., Path]:
    """Writes a study file; keyword arguments replace its entries."""

    def write(**entries: Any) -> Path:
        content: dict[str, Any] = {
            "name": "mini",
            "base": base,
            "grid": {"supervision": ["single-kl", "dual"], "seed": [0]},
            "saliency": ["gradcam"],
            "knees": 2,
        }
        content |= entries
        path = tmp_path / "study.yaml"
        path.write_text(
            yaml.safe_dump(
                {key: value for key, value in content.items() if value is not ...}, sort_keys=False
            )
        )
        return path

    return write
