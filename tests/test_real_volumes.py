"""The whole way on real volumes: preprocess, train a few steps, predict, and explain.

Skipped where the real volumes are absent; they are not part of the repository.
"""

from __future__ import annotations

import csv
from pathlib import Path

import lightning as L
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import oahier as oh
from oahier.study import read_plan, run_study
from oahier.study.executors import InProcess
from oahier.types import CARTILAGE_LABELS


def write_manifest(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.fixture
def unlabelled_knees(shared_data: Path, tmp_path: Path) -> Path:
    """Real knees without grades: two with cartilage, one strongly anisotropic without."""
    femoral = tmp_path / "femoral.nii.gz"
    mask = nib.load(shared_data / "dess-volunteer" / "femoral-cartilage.nii.gz")
    ids = (np.asarray(mask.dataobj) > 0).astype(np.uint8) * 2
    nib.save(nib.Nifti1Image(ids, mask.affine), femoral)
    clair, mese = shared_data / "clair-template", shared_data / "mese-volunteer"
    rows = [
        {"knee": "dess", "mri": shared_data / "dess-volunteer" / "dess.nii.gz", "cartilage": femoral},
        {"knee": "clair", "mri": clair / "template.nii.gz", "cartilage": clair / "segmentation.nii.gz"},
        {"knee": "mese", "mri": mese / "te13.nii.gz", "cartilage": ""},
    ]
    return write_manifest(tmp_path / "knees.csv", [{"subject": row["knee"], **row} for row in rows])


def test_knees_without_grades_are_predicted_and_explained(unlabelled_knees: Path, tmp_path: Path) -> None:
    L.seed_everything(0)
    data = oh.KneeMRIDataModule(
        unlabelled_knees, shape=(48, 64, 64), spacing=(2.8, 2.2, 2.2), batch_size=2, cache=tmp_path / "cache"
    )
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(10, 8), heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
    )
    trainer = L.Trainer(
        default_root_dir=tmp_path / "run",
        callbacks=[oh.PredictionWriter(), oh.CartilageSaliency()],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
    )
    trainer.predict(model, data, return_predictions=False)
    predictions = pd.read_csv(tmp_path / "run" / "predict" / "predictions.csv")
    assert list(predictions["knee"]) == ["clair", "dess", "mese"]
    assert predictions["label_kl"].isna().all()
    np.testing.assert_allclose(predictions[[f"prob_kl_{k}" for k in range(5)]].sum(axis=1), 1, atol=1e-5)
    saliency = pd.read_csv(tmp_path / "run" / "predict" / "saliency.csv").set_index("knee")
    assert saliency.loc[["clair", "dess"], "enrichment"].notna().all()
    assert np.isnan(saliency.loc["mese", "enrichment"])
    assert list((tmp_path / "run" / "predict" / "pictures").glob("*.png"))


def test_cartilage_stays_on_the_cartilage(unlabelled_knees: Path, tmp_path: Path) -> None:
    """After reorientation and resampling, cartilage still has the physical centre and volume of its file."""
    data = oh.KneeMRIDataModule(
        unlabelled_knees, shape=(80, 128, 128), spacing=(1.4, 1.0, 1.0), cache=tmp_path / "cache"
    )
    data.prepare_data()
    data.setup("predict")
    for batch in data.predict_dataloader():
        for index, knee in enumerate(batch["knee"]):
            if knee == "mese":
                continue
            row = pd.read_csv(unlabelled_knees).set_index("knee").loc[knee]
            source = nib.load(row["cartilage"])
            inside = np.isin(np.asarray(source.dataobj), CARTILAGE_LABELS)
            expected = nib.affines.apply_affine(source.affine, np.argwhere(inside)).mean(axis=0)
            found = np.isin(batch["cartilage"][index, 0].numpy(), CARTILAGE_LABELS)
            affine = batch["affine"][index].numpy()
            centre = nib.affines.apply_affine(affine, np.argwhere(found)).mean(axis=0)
            np.testing.assert_allclose(centre, expected, atol=0.7)
            volume = found.sum() * abs(np.linalg.det(affine[:3, :3]))
            original = inside.sum() * abs(np.linalg.det(source.affine[:3, :3]))
            assert volume == pytest.approx(original, rel=0.1)


@pytest.mark.slow
def test_real_grades_train_a_few_steps(shared_data: Path, tmp_path: Path) -> None:
    data = oh.KneeMRIDataModule(
        shared_data / "oai-bones" / "manifest.csv",
        shape=(28, 40, 36),
        spacing=(4.0, 3.0, 3.0),
        cache=tmp_path / "cache",
    )
    model = oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()})
    trainer = L.Trainer(
        max_epochs=2, default_root_dir=tmp_path, callbacks=[oh.OrdinalMetrics(), oh.PredictionWriter()],
        logger=False, enable_progress_bar=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    predictions = pd.read_csv(tmp_path / "predictions.csv", dtype={"knee": str})
    assert len(predictions) == len(data.manifest.subset("test"))
    assert torch.isfinite(trainer.callback_metrics["test/oa/auc"])
    assert torch.isfinite(trainer.callback_metrics["test/loss"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_backbone_studies_real_knees(shared_data: Path, unlabelled_knees: Path, tmp_path: Path) -> None:
    """Real grades to learn from; real cartilage, of knees without a grade, to be explained on."""
    bones = pd.read_csv(shared_data / "oai-bones" / "manifest.csv", dtype=str).groupby("kl").head(6)
    bones = bones.assign(
        mri=[str(shared_data / "oai-bones" / name) for name in bones["mri"]],
        split=["test" if row % 6 == 5 else "val" if row % 6 == 4 else "train" for row in range(len(bones))],
        cartilage="",
    )
    scans = pd.read_csv(unlabelled_knees, dtype=str).query("knee != 'mese'").assign(split="test", kl="")
    columns = ["knee", "subject", "mri", "cartilage", "kl", "split"]
    pd.concat([bones[columns], scans[columns]]).to_csv(tmp_path / "both.csv", index=False)
    encoders = {
        "resnet3d": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8}},
        "m3t": {
            "class_path": "oahier.M3T",
            "init_args": {"channels": 4, "width": 16, "depth": 1, "heads": 2},
        },
        "nnmamba": {"class_path": "oahier.NnMamba", "init_args": {"channels": 8, "blocks": 1}},
    }
    content = {
        "name": "real",
        "base": {
            "trainer": {"max_epochs": 1, "accelerator": "cpu"},
            "model": {"encoder": None},
            "data": {
                "manifest": "both.csv",
                "shape": [28, 40, 40],
                "spacing": [4.0, 3.1, 3.1],
                "batch_size": 4,
                "cache": "cache",
            },
        },
        "grid": {
            "backbone": {name: {"model.encoder": encoder} for name, encoder in encoders.items()},
            "supervision": ["dual"],
            "seed": [0],
        },
        "monitor": None,
        "knees": 2,
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for cell, outcome in run_study(read_plan(tmp_path / "study.yaml"), tmp_path / "out", InProcess()):
        assert outcome == "finished", (cell.name, cell.error)
        for method in ("gradcam", "smoothgrad"):
            table = pd.read_csv(cell.folder / "saliency" / f"{method}-kl.csv").set_index("knee")
            assert len(table) == 7
            if table.loc["dess", "peak"] > 0:
                assert 0 <= table.loc["dess", "mass_in_cartilage"] < 1
            assert np.isnan(table["enrichment"].drop(["dess", "clair"])).all()
            picture = cell.folder / "pictures" / "saliency" / f"{method}-kl.png"
            assert picture.stat().st_size > 10_000
