"""A model of phantoms, the whole way: which scans does it call unlike its training knees?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning as L
import nibabel as nib
import numpy as np
import pytest
import torch

import oahier as oh
from oahier.prediction import predict_scans

pytestmark = pytest.mark.slow

SHAPE = (32, 48, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint ``model.ckpt``, its manifest ``knees.csv``, and a folder of unseen phantoms."""
    folder = tmp_path_factory.mktemp("unusual")
    L.seed_everything(3)
    torch.set_num_threads(1)
    manifest = oh.make_phantoms(folder / "phantoms", knees=150, shape=SHAPE, seed=1, progress=False)
    data = oh.KneeMRIDataModule(manifest, shape=SHAPE, batch_size=8, cache=folder / "cache", seed=2)
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(depth=10, width=8),
        {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()},
        optimizer=partial(torch.optim.AdamW, lr=2e-3),
    )
    trainer = L.Trainer(
        max_epochs=6, accelerator="cpu", default_root_dir=folder, callbacks=[oh.SeverityAxis()],
        logger=False, enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "model.ckpt")
    oh.make_phantoms(folder / "unseen", knees=60, shape=SHAPE, seed=77, progress=False)
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> Path:
    """The manifest of the training, whose knees are embedded in evaluation mode once."""
    return folder / "phantoms" / "manifest.csv"


def flagged(folder: Path, paths: list[Path], out: Path, reference: Path | None = None) -> float:
    table = predict_scans(
        folder / "model.ckpt", paths, out, pages=False, overlays=False, reference=reference
    ).table
    assert len(table) == len(paths)
    return float(table["ood_flag"].mean())


def written(folder: Path, volumes: list[np.ndarray], spacing: tuple[float, float, float]) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number}.nii.gz" for number in range(len(volumes))]
    for path, volume in zip(paths, volumes, strict=True):
        nib.save(nib.Nifti1Image(volume.astype(np.float32), np.diag([*spacing, 1.0])), path)
    return paths


def turned(folder: Path, where: Path, turn: Callable[[np.ndarray], np.ndarray]) -> list[Path]:
    """Unseen phantoms with their voxels turned, but not their headers."""
    paths = sorted((folder / "unseen" / "mri").glob("*.nii.gz"))[:40]
    first, second, third = (float(length) for length in nib.load(paths[0]).header.get_zooms()[:3])
    volumes = [turn(np.asarray(nib.load(path).dataobj)) for path in paths]
    return written(where, volumes, (first, second, third))


def test_without_a_reference_no_knee_is_compared(folder: Path, tmp_path: Path) -> None:
    """Embeddings of training steps are no reference: a checkpoint alone flags no knee and ranks none."""
    unseen = sorted((folder / "unseen" / "mri").glob("*.nii.gz"))[:5]
    assert not (folder / "model.reference.pt").exists(), "this test comes before the reference is made"
    table = predict_scans(folder / "model.ckpt", unseen, tmp_path / "a", pages=False, overlays=False).table
    assert len(table) == len(unseen)
    assert table[["ood_flag", "ood_p", "axis", "axis_percentile"]].isna().all(axis=None)
    assert table["severity_kl"].notna().all()


def test_unseen_phantoms_are_flagged_as_often_as_said(folder: Path, reference: Path, tmp_path: Path) -> None:
    paths = sorted((folder / "unseen" / "mri").glob("*.nii.gz"))
    assert flagged(folder, paths, tmp_path / "out", reference) <= 0.2  # 22 validation knees: 5 % and luck


def test_noise_and_other_anatomy_are_flagged(
    folder: Path, reference: Path, tmp_path: Path, shared_data: Path
) -> None:
    generator = np.random.default_rng(0)
    noise = written(tmp_path / "noise", [generator.normal(size=SHAPE) for _ in range(8)], (3.5, 2.7, 2.7))
    assert flagged(folder, noise, tmp_path / "a", reference) == 1
    glands = np.load(shared_data / "adrenal" / "adrenalmnist3d.npz")["train_images"][:8]
    adrenal = written(tmp_path / "adrenal", list(glands), (4.0, 4.0, 4.0))
    assert flagged(folder, adrenal, tmp_path / "b", reference) == 1
    real = [shared_data / "dess-volunteer" / "dess.nii.gz", shared_data / "mese-volunteer" / "dicom-te12"]
    assert flagged(folder, real, tmp_path / "c", reference) == 1


def test_knees_turned_by_a_wrong_header(folder: Path, reference: Path, tmp_path: Path) -> None:
    """Front to back, and lying down, is noticed; what looks alike to the model is not, as the page says."""
    turns: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "front to back": lambda values: values[:, ::-1],
        "lying down": lambda values: np.rot90(values, 1, (1, 2)),
        "on its head": lambda values: values[:, :, ::-1],
        "left to right": lambda values: values[::-1],
    }
    shares = {
        name: flagged(folder, turned(folder, tmp_path / name, turn), tmp_path / f"{name} out", reference)
        for name, turn in turns.items()
    }
    print(shares)
    assert shares["front to back"] > 0.8
    assert shares["lying down"] > 0.8
    assert shares["left to right"] < 0.3, "phantoms are nearly symmetric: nobody could tell"
