"""Twenty tiny knees and a configuration of a run on them."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twenty tiny volumes whose brightness follows the grade."""
    generator = np.random.default_rng(0)
    rows = [["knee", "subject", "mri", "kl", "split"]]
    for index in range(20):
        volume = generator.normal(size=(12, 14, 12)).astype(np.float32)
        volume[:6] += index % 5
        name = f"knee-{index:02d}"
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / f"{name}.nii.gz")
        rows.append([name, name, f"{name}.nii.gz", index % 5, ("train", "train", "val", "test")[index // 5]])
    path = tmp_path / "knees.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def config(manifest: Path, tmp_path: Path) -> Path:
    settings = {
        "trainer": {
            "default_root_dir": str(tmp_path / "run"),
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
            "callbacks": [
                {
                    "class_path": "oahier.callbacks.BestCheckpoint",
                    "init_args": {"monitor": "val/loss", "mode": "min"},
                },
                {"class_path": "oahier.callbacks.RunLog"},
                {"class_path": "oahier.callbacks.PredictionWriter"},
            ],
        },
        "model": {
            "encoder": {
                "class_path": "oahier.ResNet3D",
                "init_args": {"depth": 10, "width": 8, "norm": "group"},
            },
            "heads": {"oa": {"class_path": "oahier.BinaryHead"}, "kl": {"class_path": "oahier.SoftmaxHead"}},
        },
        "data": {"manifest": str(manifest), "shape": [12, 12, 12]},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
