"""Models of change as cells of a study: what `oahier fit` accepts, a study does."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import oahier as oh
from oahier.cli import main
from oahier.cli.classes import Classes
from oahier.data import VisitPairsDataModule
from oahier.model import ChangeModel
from oahier.model.section_classes import flat
from oahier.statistics import read_predictions
from oahier.study import PlanError, read_plan, read_study, run_study
from oahier.study.executors import InProcess
from oahier.study.runner import resolved_cells
from oahier.study.tables import write_tables

pytestmark = pytest.mark.usefixtures("one_thread")

ENCODER = {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "group"}}


def plan_of(folder: Path, **changed: object) -> Path:
    plan = {
        "name": "change",
        "monitor": "val/change/qwk",
        "base": {
            "trainer": {"max_epochs": 1, "accelerator": "cpu"},
            "model": {"class_path": "oahier.model.ChangeModel", "init_args": {"encoder": ENCODER}},
            "data": {
                "class_path": "oahier.data.VisitPairsDataModule",
                "init_args": {"manifest": "knees/manifest.csv", "shape": [8, 12, 12], "batch_size": 4},
            },
        },
        "grid": {
            "supervision": {
                "three": {"model.init_args.heads": {"change": {"class_path": "oahier.heads.ChangeHead"}}},
                "plain": {
                    "model.heads": {"change": {"class_path": "oahier.heads.ChangeHead"}},
                    "model.init_args.encoder.init_args.width": 16,
                },
            },
            "seed": [0],
        },
    } | changed
    path = folder / "change.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("change")
    oh.make_phantoms(
        made / "knees", 24, knees_per_subject=2, shape=(8, 12, 12), visits=3, rate=0.2, interval=24,
        progress=False,
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def study(folder: Path) -> Path:
    ended = [one for _, one in run_study(read_plan(plan_of(folder)), folder / "out", InProcess())]
    assert ended == ["finished"] * 2, [cell.error for cell in read_study(folder / "out").cells]
    return folder / "out"


def test_cells_are_trained_tested_and_reported(study: Path) -> None:
    assert main(["study", "report", str(study)]) == 0
    cell = study / "cells" / "three_0"
    found = read_predictions(cell / "predictions.csv")
    assert all("-to-" in name for name in found.knee.tolist())
    assert set(found.heads) == {"change"}
    tables = study / "tables"
    assert set(pd.read_csv(tables / "headline.csv")["supervision"]) == {"three", "plain"}
    assert len(pd.read_csv(tables / "comparisons.csv"))
    for name in ("axis", "axis_comparisons", "similarity", "change", "saliency"):
        assert not (tables / f"{name}.csv").exists(), name
    page = (study / "report" / "index.html").read_text()
    assert "The cells compare two visits of a knee: rows are pairs of visits" in page
    assert all(f">{name}<" in page for name in ("better", "same", "worse"))
    told = (study / "report" / "methods.txt").read_text()
    assert "There were 42 training scans, 12 validation scans and 18 test scans" in told
    assert f"Models compared two visits of a knee, in the test {len(found)} pairs." in told


def test_a_cell_is_what_the_training_command_takes(folder: Path, study: Path) -> None:
    cells = {cell.name: config for cell, config in resolved_cells(read_plan(plan_of(folder)))}
    assert cells["plain_0"]["model"]["encoder"]["init_args"]["width"] == 16
    assert cells["three_0"]["classes"] == {
        "data": "oahier.data.VisitPairsDataModule", "model": "oahier.model.ChangeModel",
    }  # fmt: skip
    written = yaml.safe_load((study / "cells" / "three_0" / "config.yaml").read_text())
    assert written["model"]["class_path"] == "oahier.model.ChangeModel"
    named = Classes.named_by([f"--config={study / 'cells' / 'three_0' / 'config.yaml'}"])
    assert (named.model, named.data) == (ChangeModel, VisitPairsDataModule)
    assert flat(written) == read_study(study).cells[0].config == cells["three_0"]
    other = {"class_path": "torch.nn.Linear"}
    with pytest.raises(PlanError, match=r"model\.class_path: expected .*HierarchicalClassifier.*, got torch"):
        resolved_cells(read_plan(plan_of(folder, base={"model": other})))
    with pytest.raises(PlanError, match="model: expected class_path and init_args alone, got 'encoder'"):
        read_plan(plan_of(folder, base={"model": {**other, "encoder": "m3t"}}))


def test_a_monitor_that_no_head_logs_is_refused_before_training(folder: Path) -> None:
    with pytest.raises(PlanError, match=r"val/kl/qwk is never logged, .*`monitor: val/change/qwk`"):
        resolved_cells(read_plan(plan_of(folder, monitor="val/kl/qwk")))


def test_single_knees_and_pairs_of_visits_are_two_studies(folder: Path) -> None:
    heads = {"model.heads": {"change": {"class_path": "oahier.heads.ChangeHead"}}}
    plain = {
        "model.class_path": "oahier.HierarchicalClassifier",
        "data.class_path": "oahier.KneeMRIDataModule",
    }
    grid = {"supervision": {"change": heads, "single": heads | plain}, "seed": [0]}
    with pytest.raises(PlanError, match="'change_0' learns from pairs of visits and 'single_0' from"):
        resolved_cells(read_plan(plan_of(folder, grid=grid)))


def test_cells_that_differ_in_the_encoder_alone_are_compared(folder: Path, tmp_path: Path) -> None:
    """The plan of the page on change: no supervisions, two widths."""
    heads = {"model.init_args.heads": {"change": {"class_path": "oahier.heads.ChangeHead"}}}
    wide = {"model.init_args.encoder.init_args.width": 16}
    grid = {"backbone": {"narrow": heads, "wide": heads | wide}, "seed": [0]}
    list(run_study(read_plan(plan_of(folder, grid=grid)), tmp_path / "out", InProcess()))
    write_tables(read_study(tmp_path / "out"))
    compared = pd.read_csv(tmp_path / "out" / "tables" / "comparisons.csv")
    assert set(zip(compared["model_a"], compared["model_b"], strict=True)) == {("narrow", "wide")}


def test_cells_without_heads_are_refused(folder: Path) -> None:
    with pytest.raises(PlanError, match=r"cell 'narrow_0': model\.heads: expected heads by name, got none"):
        resolved_cells(read_plan(plan_of(folder, grid={"backbone": {"narrow": {}}, "seed": [0]})))
