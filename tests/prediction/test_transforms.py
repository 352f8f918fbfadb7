"""Checkpoints of models whose knees were preprocessed by a transform of TorchIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchio as tio
from miniature.bright import blob, write_bright_checkpoint, write_nifti

from oahier.data import KneeMRIDataModule
from oahier.data.transforms import RecordedTransform
from oahier.model.checkpoints import CheckpointError
from oahier.prediction import load_trained, predict_scans

SHAPE = (12, 16, 16)
TRANSFORM = tio.Compose([tio.CropOrPad(SHAPE), tio.RescaleIntensity((0, 7), percentiles=(1, 99))])


def checkpoint_with(folder: Path, spec: Any) -> Path:
    path = write_bright_checkpoint(folder / "model.ckpt", shape=SHAPE, spacing=(2.0, 2.0, 2.0))
    content = torch.load(path, weights_only=True)
    content["KneeMRIDataModule"]["preprocessing"] |= {"transform": spec, "spacing": []}
    torch.save(content, path)
    return path


def test_scans_are_transformed_as_at_training(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    scan = write_nifti(tmp_path / "one.nii.gz", blob((14, 16, 18), affine, (4, 5, 6), width=5), affine)
    path = checkpoint_with(tmp_path, RecordedTransform.of(TRANSFORM).spec)
    predict_scans(path, scan, tmp_path / "out", pages=True)
    row = pd.read_csv(tmp_path / "out" / "predictions.csv").iloc[0]
    (tmp_path / "manifest.csv").write_text("knee,subject,mri\none,one,one.nii.gz\n")
    data = KneeMRIDataModule(tmp_path, SHAPE, preprocessing=TRANSFORM)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    trained = load_trained(path)
    with torch.inference_mode():
        severity = trained.model.heads["kl"].severity(trained.model(batch["mri"])["kl"])
    assert row["severity_kl"] == pytest.approx(severity.item(), abs=1e-5)
    assert batch["mri"].max() == 7


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"class_path": "torchio.Lambda", "init_args": {"function": {"function": "mine.negative"}}},
         "the function mine.negative of the user's cannot be rebuilt"),
        ({"class_path": "mine.Scaled"}, "'mine' is not trusted"),
        ({"class_path": "torch.nn.Linear", "init_args": {}}, "is no TorchIO transform"),
        ({"class_path": "torchio.RandomNoise", "init_args": {}}, "RandomNoise is random"),
        ({"class_path": "torchio.CropOrPad", "init_args": {"target_shape": 3, "x": 3}}, "rebuilt.*expected"),
    ],
)  # fmt: skip
def test_transforms_that_cannot_be_rebuilt(tmp_path: Path, spec: Any, message: str) -> None:
    path = checkpoint_with(tmp_path, spec)
    with pytest.raises(CheckpointError, match=f"model.ckpt: .*{message}"):
        load_trained(path)
