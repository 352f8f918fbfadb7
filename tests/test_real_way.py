"""From real files on disk to pages of predictions, by the commands of the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from oahier.cli import main

LABELS = "1=2,2=4,3=5,4=0,5=1,6=3,7=0,8=0,9=0,10=0"
"""Our ids for those of the oblique label map."""


@pytest.fixture
def knees(shared_data: Path, tmp_path: Path) -> Path:
    """A researcher's table: NIfTI in two orientations, a DICOM series, and files that are no scans."""
    mask = nib.load(shared_data / "dess-volunteer" / "femoral-cartilage.nii.gz")
    ids = (np.asarray(mask.dataobj) > 0).astype(np.uint8) * 2
    nib.save(nib.Nifti1Image(ids, mask.affine), tmp_path / "femoral.nii.gz")
    clair = shared_data / "clair-template"
    rows = [
        ["dess", "v1", shared_data / "dess-volunteer" / "dess.nii.gz", tmp_path / "femoral.nii.gz", ""],
        ["clair", "v2", clair / "template.nii.gz", clair / "segmentation.nii.gz", "right"],
        ["series", "v3", shared_data / "mese-volunteer" / "dicom-te12", "", ""],
        ["echo", "v3", shared_data / "mese-volunteer" / "te13.nii.gz", "", ""],
        ["map", "v4", shared_data / "oai-label-map" / "right-knee.nrrd", "", "right"],
        ["table", "v5", shared_data / "README.md", "", ""],
    ]
    path = tmp_path / "scans.xlsx"
    names = ["knee", "patient", "scan", "mask", "side"]
    pd.DataFrame([[str(cell) for cell in row] for row in rows], columns=names).to_excel(path, index=False)
    return path


@pytest.mark.slow
def test_from_files_to_pages(shared_data: Path, knees: Path, tmp_path: Path) -> None:
    scans, bones = tmp_path / "scans", tmp_path / "bones"
    columns = "--columns=subject=patient,mri=scan,cartilage=mask"
    assert main(["data", "import", "table", str(knees), str(scans), columns]) == 0
    imported = pd.read_csv(scans / "manifest.csv", dtype=str)
    assert sorted(imported["knee"]) == ["clair", "dess", "echo", "series"]
    left_out = pd.read_csv(scans / "left-out.csv", dtype=str).set_index("knee")["reason"]
    assert "label map" in left_out["map"]
    assert set(left_out.index) == {"map", "table"}
    assert main(["data", "check", str(scans / "manifest.csv"), "--html", str(tmp_path / "audit.html")]) == 0
    assert "data:image" in (tmp_path / "audit.html").read_text(encoding="utf-8")

    table = shared_data / "oai-bones" / "manifest.csv"
    assert main(["data", "import", "table", str(table), str(bones)]) == 0
    split = ["data", "split", str(bones / "manifest.csv"), str(bones / "split.csv"), "--seed", "1"]
    assert main(split) == 0
    counts = pd.read_csv(bones / "split.csv", dtype=str).groupby(["split", "kl"]).size()
    assert len(counts) == 15  # every grade is in every part

    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(configuration(tmp_path, bones / "split.csv")))
    assert main(["data", "cache", "--config", str(config), "--workers", "2"]) == 0
    assert main(["fit", "--config", str(config)]) == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    out = tmp_path / "predictions"
    assert main(["predict", str(checkpoint), str(scans / "manifest.csv"), "--output", str(out)]) == 0
    predicted = pd.read_csv(out / "predictions.csv", dtype={"knee": str}).set_index("knee")
    assert sorted(predicted.index) == ["clair", "dess", "echo", "series"]
    grades = [f"prob_kl_{grade}" for grade in range(5)]
    np.testing.assert_allclose(predicted[grades].sum(axis=1), 1, atol=1e-4)
    for knee, source in (("dess", "dess-volunteer/dess.nii.gz"), ("clair", "clair-template/template.nii.gz")):
        overlay, scan = nib.load(out / "overlays" / f"{knee}.nii.gz"), nib.load(shared_data / source)
        assert overlay.shape == scan.shape
        np.testing.assert_allclose(overlay.affine, scan.affine, atol=1e-3)
        assert (out / "pictures" / f"{knee}.png").stat().st_size > 10_000
        assert "not a medical device" in (out / "pages" / f"{knee}.html").read_text(encoding="utf-8")
    # a bone map is what it was trained on, a scan is not
    assert predicted["ood_flag"].astype(bool).all()
    assert main(["export", str(checkpoint), str(tmp_path / "exported"), "--formats", "[safetensors]"]) == 0
    assert json.loads((tmp_path / "exported" / "export.json").read_text())["preprocessing"]["shape"]


def configuration(folder: Path, manifest: Path) -> dict[str, object]:
    return {
        "seed_everything": 0,
        "trainer": {
            "max_epochs": 2, "accelerator": "cpu", "default_root_dir": str(folder / "run"), "logger": False,
            "callbacks": [{"class_path": f"oahier.{name}"} for name in ("OrdinalMetrics", "SeverityAxis")]
            + [{"class_path": "oahier.callbacks.BestCheckpoint"}],
        },
        "model": {
            "encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8}},
            "heads": {
                "oa": {"class_path": "oahier.BinaryHead"}, "kl": {"class_path": "oahier.SoftmaxHead"},
            },
        },
        "data": {
            "manifest": str(manifest), "shape": [28, 40, 40], "batch_size": 8, "cache": str(folder / "cache"),
        },
    }  # fmt: skip
