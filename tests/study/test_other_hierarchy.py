"""Other hierarchies than OA above KL, from training to prediction and report, without an edit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from oahier.metrics import WeightedMedian
from oahier.prediction import predict_scans
from oahier.study import read_plan, read_study, run_study
from oahier.study.executors import InProcess
from oahier.study.report import write_report
from oahier.study.tables import write_tables

STAGES = {"stage": [0, 1, 2, 2, 2]}
THREE = {"stage": [0, 1, 2, 2, 2], "oa": [0, 0, 1, 1, 1]}


def _hierarchy(coarser: dict[str, list[int]]) -> dict[str, object]:
    return {"class_path": "oahier.Hierarchy", "init_args": {"finest": "kl", "coarser": coarser}}


@pytest.mark.slow
@pytest.mark.parametrize("coarser", [STAGES, THREE], ids=["none-doubtful-definite", "three-levels"])
def test_train_predict_and_report(coarser: dict[str, list[int]], tmp_path: Path, knees: Path) -> None:
    table = pd.read_csv(knees, dtype=str)
    table["stage"] = [STAGES["stage"][int(grade)] for grade in table["kl"]]
    for column in ("mri", "cartilage"):
        table[column] = [str(knees.parent / name) for name in table[column]]
    table.to_csv(tmp_path / "knees.csv", index=False)
    hierarchy, levels = _hierarchy(coarser), ["kl", *coarser]
    heads = {
        "kl": {"class_path": "oahier.ConditionalHead", "init_args": {"hierarchy": hierarchy}},
        **{
            level: {
                "class_path": "oahier.MarginalHead",
                "init_args": {"level": level, "hierarchy": hierarchy},
            }
            for level in coarser
        },
    }
    plan = {
        "name": "stages",
        "base": {
            "trainer": {"max_epochs": 1, "accelerator": "cpu"},
            "model": {
                "encoder": {
                    "class_path": "oahier.ResNet3D",
                    "init_args": {"depth": 10, "width": 8, "norm": "group"},
                },
                "heads": heads,
            },
            "data": {"manifest": "knees.csv", "shape": [12, 14, 12], "batch_size": 8, "targets": levels},
        },
        "grid": {"supervision": {"all": {}}, "seed": [0]},
        "saliency": ["gradcam"],
        "knees": 1,
        "decoding": {"class_path": "oahier.metrics.WeightedMedian"},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    made = list(run_study(read_plan(tmp_path / "study.yaml"), tmp_path / "out", InProcess()))
    assert [outcome for _, outcome in made] == ["finished"], [cell.error for cell, _ in made]
    cell = next((tmp_path / "out" / "cells").iterdir())

    found = pd.read_csv(cell / "predictions.csv")
    p = found[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy()
    assert found["pred_kl"].tolist() == WeightedMedian().decide(p).tolist()
    assert set(found["decoding_kl"]) == {"median grade"}
    groups = np.eye(3)[STAGES["stage"]]
    stage = found[[f"prob_stage_{one}" for one in range(3)]].to_numpy()
    np.testing.assert_allclose(stage, p @ groups, atol=1e-5)
    metrics = yaml.safe_load((cell / "metrics.json").read_text())
    assert metrics["decoding"] == "median grade (mean absolute error)"
    name = "hierarchy" if coarser is STAGES else "hierarchy_stage_kl"
    assert metrics["metrics"][f"test/{name}/probability_gap"] == pytest.approx(0, abs=1e-5)
    assert "test/kl/stage_qwk" in metrics["metrics"]

    write_tables(read_study(tmp_path / "out"))
    headline = pd.read_csv(tmp_path / "out" / "tables" / "headline.csv")
    assert {"KL", "stage"} <= set(headline["task"])
    assert "stage on the test split" in write_report(tmp_path / "out").read_text()

    scan = table["mri"].iloc[0]
    row = predict_scans(cell / "checkpoints" / "best.ckpt", scan, tmp_path / "new").table.iloc[0]
    assert row[["prob_stage_0", "prob_stage_1", "prob_stage_2"]].sum() == pytest.approx(1, abs=1e-5)
    assert (tmp_path / "new" / "index.html").is_file()
