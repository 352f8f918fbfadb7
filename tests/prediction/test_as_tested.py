"""Grades, probabilities and decisions of new scans: those that the test of the model had."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from miniature.bright import blob, write_bright_checkpoint, write_nifti

import oahier as oh
from oahier.callbacks import BestCheckpoint, DecisionCalibration, GradeDecoding
from oahier.cli import main
from oahier.clinical import Decisions, FixedSpecificity, Isotonic
from oahier.metrics import Decoding, MostProbable, QuadraticCost, WeightedMedian
from oahier.prediction import predict_scans

SHAPE, AFFINE = (12, 14, 16), np.diag([2.0, 2.0, 2.0, 1.0])
NETWORK = {"shape": SHAPE, "spacing": (2.0, 2.0, 2.0)}
FEW = {"pages": False, "overlays": False}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knees whose grade is how bright they are, more or less; two lack their label map."""
    folder, generator = tmp_path_factory.mktemp("knees"), np.random.default_rng(0)
    rows = []
    for index in range(48):
        split = ("train", "val", "test")[index % 3]
        volume = blob(SHAPE, AFFINE, (4, 5, 6), width=2 + index % 5 + generator.random())
        write_nifti(folder / f"k{index}.nii.gz", volume + generator.integers(0, 90, SHAPE, np.int16), AFFINE)
        label_map = np.zeros(SHAPE, np.uint8)
        label_map[3:5, 4:6, 5:7] = 2
        write_nifti(folder / f"c{index}.nii.gz", label_map, AFFINE)
        cartilage = "" if index in (2, 5) else f"c{index}.nii.gz"
        rows.append(f"k{index},s{index},k{index}.nii.gz,{cartilage},{(index + index // 9) % 5},{split}")
    path = folder / "knees.csv"
    path.write_text("\n".join(["knee,subject,mri,cartilage,kl,split", *rows]) + "\n")
    path.with_name("test.csv").write_text(
        "\n".join(["knee,subject,mri,cartilage,kl,split", *(row for row in rows if row.endswith("test"))])
    )
    return path


RULES = [
    (None, None),
    (QuadraticCost(0.4, [5.0, 4.0, 3.0, 2.0, 1.0]), None),
    (WeightedMedian(), DecisionCalibration(threshold=FixedSpecificity(0.8))),
    (QuadraticCost(0.6, [1.0] * 5), DecisionCalibration(Isotonic())),
    (MostProbable(), DecisionCalibration(apply=False)),
]


@pytest.mark.parametrize(("rule", "calibration"), RULES, ids=map(str, range(len(RULES))))
def test_a_knee_has_one_grade_in_test_and_prediction(
    manifest: Path, tmp_path: Path, rule: Decoding | None, calibration: DecisionCalibration | None
) -> None:
    def trainer() -> L.Trainer:
        callbacks = [oh.OrdinalMetrics(0), oh.PredictionWriter(), BestCheckpoint("val/loss", "min")]
        callbacks += [] if rule is None else [GradeDecoding(rule)]
        callbacks += [] if calibration is None else [calibration]
        return L.Trainer(
            max_epochs=2, default_root_dir=tmp_path, accelerator="cpu", logger=False, callbacks=callbacks,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    L.seed_everything(3, verbose=False)
    data = oh.KneeMRIDataModule(manifest, batch_size=8, cache=tmp_path / "cache", **NETWORK)
    model = oh.HierarchicalClassifier(
        oh.ResNet3D(depth=10, width=8), heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
    )
    trainer().fit(model, data)
    best = tmp_path / "checkpoints" / "best.ckpt"
    trainer().test(model, data, ckpt_path=best, weights_only=True)
    tested = pd.read_csv(tmp_path / "predictions.csv").set_index("knee")
    result = predict_scans(best, manifest.with_name("test.csv"), tmp_path / "new", device="cpu", **FEW)
    found = result.table.set_index("knee").loc[tested.index]
    assert len(found) == 16
    applied = calibration is not None and calibration.apply
    assert bool(result.decided) == applied
    for name in ("pred_kl", "pred_oa", "decoding_kl", "label_kl", "label_oa"):
        assert found[name].tolist() == tested[name].tolist(), name
    for name in ("prob_oa", "severity_kl", *(f"prob_kl_{grade}" for grade in range(5))):
        np.testing.assert_allclose(found[name], tested[name], atol=2e-5, err_msg=name)
    if applied:
        plain = predict_scans(best, manifest.with_name("test.csv"), tmp_path / "raw", decisions="none",
                              device="cpu", **FEW)  # fmt: skip
        assert plain.decided == ()
        assert not np.allclose(plain.table["prob_oa"], result.table["prob_oa"], atol=1e-3)


@pytest.fixture
def decided(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint that says OA from P >= 0.7 on, fitted on subject S1, and a scan."""
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", **NETWORK)
    content = torch.load(checkpoint, weights_only=True)
    state = content["state_dict"]
    for name, bias in (("kl", [0.0, 0.0, 1.0, 0.0, 0.0]), ("oa", [0.5])):
        state[f"heads.{name}.projection.weight"] *= 0
        state[f"heads.{name}.projection.bias"][:] = torch.tensor(bias)
    fitted = Decisions.fit({}).to_dict() | {
        "heads": {
            "oa": {"calibrator": None, "threshold": 0.7, "rule": "a rule", "knees": 60, "note": ""},
        },
        "subjects": ["3696ad59777e09d5"],
    }
    content["callbacks"]["DecisionCalibration"] = {"decisions": fitted}
    torch.save(content, checkpoint)
    scan = write_nifti(tmp_path / "scan.nii.gz", blob(SHAPE, AFFINE, (4, 5, 6), width=5), AFFINE)
    return checkpoint, scan


def test_page_and_terminal_say_the_threshold(
    decided: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, scan = decided
    out = tmp_path / "out"
    words = ["predict", str(checkpoint), str(scan), "--output", str(out), "--no-viewer", "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "decisions of oa: probabilities as they are, threshold 0.7 (a rule), fitted on 60 knees" in printed
    assert "P(OA) = 0.62 (threshold 0.7)" in printed
    page, index = (out / "pages" / "scan.html").read_text(), (out / "index.html").read_text()
    assert "no OA <small>threshold 0.7 (a rule)</small>" in page
    assert "threshold 0.7 (a rule), fitted on 60 knees" in page
    assert "Decisions of oa: probabilities as they are, threshold 0.7 (a rule)" in index
    assert main([*words, "--decisions", "none"]) == 0
    assert "decisions of" not in capsys.readouterr().out
    page = (out / "pages" / "scan.html").read_text()
    assert ">OA <small>more probable than not</small>" in page


def test_a_subject_of_the_fit_is_warned_of(decided: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, _ = decided
    (tmp_path / "new.csv").write_text("knee,subject,mri\nK1,S1,scan.nii.gz\nK2,S2,scan.nii.gz\n")
    table = predict_scans(checkpoint, tmp_path / "new.csv", tmp_path / "out", device="cpu", **FEW).table
    assert ["were fitted on this subject" in words for words in table["warnings"]] == [True, False]
