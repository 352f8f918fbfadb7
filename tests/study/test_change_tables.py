"""Change over visits in the tables and the report of a study, without any training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from oahier.study import Study, change_tables, read_study
from oahier.study.axis_tables import AxisTables
from oahier.study.change_tables import ChangeTables
from oahier.study.report import write, write_report
from oahier.study.report.change import change_figures, change_view
from oahier.study.report.contents import read_contents
from oahier.study.tables import write_tables
from oahier.visits import Visits, response_means, slopes

KNEES = 40


@pytest.fixture(scope="module")
def study(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two supervisions; forty test knees of twenty subjects at three visits in four years."""
    folder = tmp_path_factory.mktemp("change")
    plan = synthetic.Synthetic(
        backbones=("resnet3d",), supervisions=("single-kl", "dual"), seeds=("0",), failed=(), saliency=(),
        knees=3 * KNEES, shown=0, shape=(4, 4, 4),
    )  # fmt: skip
    generator = np.random.default_rng(3)
    rate, start = np.repeat(generator.exponential(0.25, KNEES // 2), 2), generator.uniform(0, 3.5, KNEES)
    true = (start[:, None] + rate[:, None] * [0, 2, 4]).ravel().clip(max=4.49)
    rows = pd.DataFrame({
        "knee": [f"K{number:03d}" for number in range(3 * KNEES)],
        "subject": np.repeat([f"S{number:02d}" for number in range(KNEES // 2)], 6),
        "side": np.tile(np.repeat(["left", "right"], 3), KNEES // 2),
        "month": np.tile([0, 24, 48], KNEES),
        "kl": true.round().astype(int),
    })  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            synthetic, "knee_table", lambda *_: rows.assign(oa=(rows["kl"] >= 2).astype(int), jsn=0)
        )
        synthetic.write_study(folder, plan)
    (folder / "empty.nii.gz").write_bytes(b"")
    rows.assign(mri="empty.nii.gz", split="test").to_csv(folder / "knees.csv", index=False)
    for path in folder.glob("cells/*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        config["data"]["manifest"] = str(folder / "knees.csv")
        path.write_text(yaml.safe_dump(config))
    write_tables(read_study(folder))
    return folder


def test_numbers_are_those_of_the_visits_of_test_knees(study: Path) -> None:
    table = pd.read_csv(study / "tables" / "change.csv")
    assert table.groupby(["cell", "score"]).size().nunique() == 1
    assert set(table["score"]) == {"axis", "severity"}
    assert table["cell"].nunique() == 2
    visits = pd.read_csv(study / "cells" / "resnet3d_dual_0" / "change.csv")
    assert len(visits) == 3 * KNEES
    placed = pd.read_csv(study / "cells" / "resnet3d_dual_0" / "axis.csv")
    np.testing.assert_allclose(visits["axis"], placed["pca"], rtol=1e-6)
    of_table = Visits.of(visits)
    line = slopes(of_table, visits["axis"].to_numpy())
    rows = table[(table["cell"] == "resnet3d_dual_0") & (table["score"] == "axis")].set_index("quantity")
    assert rows.loc["mean slope a year", "value"].iloc[0] == pytest.approx(line.mean.value, rel=1e-4)
    np.testing.assert_allclose(visits["axis_slope"], line.knee[of_table.knee], rtol=1e-4)
    means = response_means(
        of_table, visits["axis"].to_numpy(), visits["kl"].to_numpy(float), names=("a", "b")
    )
    found = rows.loc["standardised response mean, first to last", ["value", "ci_low", "ci_high"]]
    expected = [[one.estimate.value, one.estimate.low, one.estimate.high] for one in means]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    areas = rows.loc["AUC, grade rises within 48 months"]
    assert areas["events"].iloc[0] >= 5
    assert areas["value"].notna().all()


def test_supervisions_are_compared_on_the_same_knees(study: Path) -> None:
    table = pd.read_csv(study / "tables" / "change.csv")
    compared = pd.read_csv(study / "tables" / "change_comparisons.csv").set_index(["score", "metric"])
    assert list(compared.index) == [
        (score, metric) for score in ("axis", "severity") for metric in ("response_mean", "progression_auc")
    ]
    starts = {"response_mean": "standardised response mean", "progression_auc": "AUC, grade rises"}
    for (score, metric), row in compared.iterrows():
        for side in ("a", "b"):
            level = row[f"model_{side}"]
            rows = table[(table["supervision"] == level) & (table["score"] == score) & (table["of"] == score)]
            values = rows[rows["quantity"].str.startswith(starts[metric])]["value"]
            assert len(values) == 1
            assert row[side] == pytest.approx(values.mean(), rel=1e-6)
        assert row["ci_low"] < row["difference"] < row["ci_high"]


def test_a_cell_is_evaluated_once_however_often_it_is_compared(
    study: Path, compared_thrice: Callable[[ModuleType, Study], list[Any]]
) -> None:
    found = read_study(study)
    calls = compared_thrice(change_tables, found)
    rows = [row for _, row in ChangeTables(found, AxisTables(found)).comparisons()]
    assert len(rows) == 3 * 4
    assert rows[:4] == rows[4:8] == rows[8:]
    assert len(calls) == 2 * 4, "two cells, two scores, two metrics"


def test_the_report_has_a_section_with_trajectories(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("forest", "axis", "prediction", "spread", "saliency"):
        monkeypatch.setattr(write, f"{name}_panels", lambda *_: [])
    html = write_report(study).read_text(encoding="utf-8")
    assert '<section id="change"' in html
    assert "Trajectories, KL 0 at the first visit" in html
    assert "Single-KL, seed 0: severity axis (PC1)" in html
    assert "of 20 subjects" in html
    assert len(list(study.glob("report/figures/change_*.pdf"))) == 2
    assert (study / "report" / "tables" / "change.tex").is_file()
    assert "Paired differences of change over visits" in html


def test_without_visits_there_is_no_number_no_file_and_no_word(
    study: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("report"))
    table = pd.read_csv(folder / "knees.csv")
    once = table[table["month"] == 0]
    for cell in folder.glob("cells/*/config.yaml"):
        cell.write_text(cell.read_text().replace(str(study), str(folder)))
    for manifest in (table.drop(columns="month"), once, table.assign(month=""), None):
        if manifest is None:
            (folder / "knees.csv").unlink()
        else:
            manifest.to_csv(folder / "knees.csv", index=False)
        made = ChangeTables(read_study(folder), None)
        made.write_visits()
        assert made.rows() == list(made.comparisons()) == []
        assert not list(folder.glob("cells/*/change.csv"))
    contents = read_contents(folder)
    assert change_view(replace(contents, tables={})) is None
    assert list(change_figures(contents)) == []
    assert "".join([*capfd.readouterr(), caplog.text]) == ""
