"""A head that the library has never heard of reaches the tables and the report of a study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from sklearn.metrics import cohen_kappa_score

from oahier.study import read_plan, read_study, run_study, status_table
from oahier.study.executors import InProcess
from oahier.study.report import write_report
from oahier.study.tables import write_tables

GRADES = {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 4}}
KL = {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, knees: Path) -> Path:
    """A head of four ordered grades, ``jsn``, that is a probe beside ``kl`` or supervises the encoder."""
    folder = tmp_path_factory.mktemp("jsn")
    table = pd.read_csv(knees, dtype=str)
    table["jsn"] = (table["kl"].astype(int) * 3) // 4
    for column in ("mri", "cartilage"):
        table[column] = [str(knees.parent / name) for name in table[column]]
    table.to_csv(folder / "knees.csv", index=False)
    plan = {
        "name": "jsn",
        "base": {
            "trainer": {"max_epochs": 1, "accelerator": "cpu"},
            "model": {
                "encoder": {
                    "class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "group"},
                },
                "heads": {"kl": KL, "jsn": GRADES},
            },
            "data": {
                "manifest": "knees.csv", "shape": [12, 14, 12], "batch_size": 8, "targets": ["kl", "jsn"],
            },
        },
        "grid": {"supervision": {"single-jsn": {"model.probes": ["kl"]}, "kl-and-jsn": {}}, "seed": [0]},
        "monitor": "val/jsn/qwk",
        "saliency": ["gradcam"],
        "knees": 1,
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    made = list(run_study(read_plan(folder / "study.yaml"), folder / "out", InProcess()))
    assert [outcome for _, outcome in made] == ["finished"] * 2, [cell.error for cell, _ in made]
    write_tables(read_study(folder / "out"))
    return folder / "out"


def test_tables_have_the_head(study: Path):
    headline = pd.read_csv(study / "tables" / "headline.csv")
    rows = headline[(headline["task"] == "jsn") & (headline["metric"] == "qwk")]
    assert rows["supervision"].tolist() == ["single-jsn", "kl-and-jsn"]
    for row in rows.to_dict("records"):
        found = pd.read_csv(study / "cells" / f"{row['supervision']}_0" / "predictions.csv")
        predicted = found[[f"prob_jsn_{grade}" for grade in range(4)]].to_numpy().argmax(axis=1)
        expected = cohen_kappa_score(found["label_jsn"], predicted, labels=range(4), weights="quadratic")
        assert row["value"] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    probes = headline.groupby(["supervision", "task"])["probe"].first()
    assert probes["single-jsn", "KL"]
    assert not probes["single-jsn", "jsn"]
    compared = pd.read_csv(study / "tables" / "comparisons.csv")
    assert {"jsn", "KL"} <= set(compared["task"])
    saliency = pd.read_csv(study / "tables" / "saliency.csv")
    assert set(saliency["method"]) == {"gradcam-jsn", "gradcam-kl"}


def test_the_report_shows_the_head(study: Path):
    page = write_report(study)
    html = page.read_text()
    for part in (
        "jsn on the test split", "jsn: kl-and-jsn \N{MINUS SIGN} single-jsn", "Grad-CAM of the jsn head",
        "single-jsn: the encoder is supervised by jsn, and the KL grade is read out by a probe",
        "the largest QWK of jsn on the validation knees",
    ):  # fmt: skip
        assert part in html, part
    for name in ("confusion_jsn", "reliability_jsn", "confusion_kl"):
        assert (page.parent / "figures" / f"{name}.pdf").is_file()
    assert r"jsn on the test split" in (page.parent / "tables" / "headline.tex").read_text()


def test_the_status_shows_the_head(study: Path):
    headings = [str(column.header) for column in status_table(read_study(study)).columns]
    assert "jsn QWK" in headings
