"""Every backbone of the study on real volumes: a few steps on real grades, then saliency pictures.

Skipped where the real volumes are absent; they are not part of the repository.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

import oahier as oh

BACKBONES: dict[str, Any] = {
    "resnet3d": lambda: oh.ResNet3D(10, 8),
    "m3t": lambda: oh.M3T(8, "resnet18", 64, 2, 4, recompute=True),
    "nnmamba": lambda: oh.NnMamba(8, 2),
}
SHAPE = {"shape": (48, 64, 64), "spacing": (2.5, 2.2, 2.2)}


@pytest.fixture
def explained_knees(shared_data: Path, tmp_path: Path) -> Path:
    """Two real knees with cartilage and without a grade."""
    dess, clair = shared_data / "dess-volunteer", shared_data / "clair-template"
    mask = nib.load(dess / "femoral-cartilage.nii.gz")
    femoral = (np.asarray(mask.dataobj) > 0).astype(np.uint8) * 2
    nib.save(nib.Nifti1Image(femoral, mask.affine), tmp_path / "femoral.nii.gz")
    rows = [
        ("knee", "subject", "mri", "cartilage"),
        ("dess", "dess", dess / "dess.nii.gz", tmp_path / "femoral.nii.gz"),
        ("clair", "clair", clair / "template.nii.gz", clair / "segmentation.nii.gz"),
    ]
    with (tmp_path / "knees.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "knees.csv"


@pytest.mark.slow
@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_trains_on_real_grades_and_explains_real_knees(
    backbone: str, shared_data: Path, explained_knees: Path, tmp_path: Path
) -> None:
    L.seed_everything(0, verbose=False)
    bones = oh.KneeMRIDataModule(
        shared_data / "oai-bones" / "manifest.csv", shape=(40, 48, 48), spacing=(2.8, 2.9, 2.9),
        batch_size=2, cache=tmp_path / "cache",
    )  # fmt: skip
    model = oh.HierarchicalClassifier(
        BACKBONES[backbone](),
        {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()},
        optimizer=partial(torch.optim.AdamW, lr=1e-4),
    )
    before = {name: item.detach().clone() for name, item in model.encoder.named_parameters()}
    options: dict[str, Any] = {
        "logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu",
    }  # fmt: skip
    trainer = L.Trainer(default_root_dir=tmp_path, max_steps=6, limit_val_batches=1, **options)
    trainer.fit(model, bones)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    assert all(not torch.equal(item, before[name]) for name, item in model.encoder.named_parameters())

    run = tmp_path / "explained"
    for method in ("gradcam", "smoothgrad"):
        folder = run / method
        saliency = oh.CartilageSaliency(head="oa", method=method)
        knees = oh.KneeMRIDataModule(explained_knees, batch_size=1, cache=tmp_path / "cache", **SHAPE)
        L.Trainer(default_root_dir=folder, callbacks=[saliency], **options).predict(
            model, knees, return_predictions=False
        )
        table = pd.read_csv(folder / "predict" / "saliency.csv").set_index("knee")
        assert sorted(table.index) == ["clair", "dess"]
        assert list((folder / "predict" / "pictures").glob("*.png"))
        if method == "smoothgrad":
            assert table["enrichment"].notna().all()
