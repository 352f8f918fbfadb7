"""Tables of a study against scikit-learn, scipy and the files of its cells."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from oahier.cli.main import main
from oahier.data import ManifestError
from oahier.latent.similarity import linear_cka
from oahier.prediction import predict_scans
from oahier.statistics import paired_statistic
from oahier.study import Study, axis_tables, read_plan, read_study, run_study
from oahier.study.axis_columns import AxisColumns
from oahier.study.axis_tables import AxisTables
from oahier.study.executors import InProcess
from oahier.study.pairs import pairs
from oahier.study.report.axis_evidence import order_view, similarity_view
from oahier.study.report.contents import Contents
from oahier.study.report.evidence import axis_view
from oahier.study.tables import write_tables


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, knees: Path) -> Path:
    """Three supervisions, two seeds; one cell has failed."""
    import yaml

    folder = tmp_path_factory.mktemp("study")
    encoder = {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "group"}}
    plan = {
        "name": "mini",
        "base": {
            "trainer": {"max_epochs": 1, "accelerator": "cpu"},
            "model": {"encoder": encoder},
            "data": {"manifest": str(knees), "shape": [12, 14, 12], "batch_size": 8},
        },
        "grid": {"supervision": ["single-oa", "dual"], "seed": [0, 1]},
        "saliency": ["gradcam"],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    outcomes = [
        outcome for _, outcome in run_study(read_plan(folder / "study.yaml"), folder / "out", InProcess())
    ]
    assert outcomes == ["finished"] * 4
    write_tables(read_study(folder / "out"))
    return folder / "out"


def table(study: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(study / "tables" / f"{name}.csv")


def only(rows: pd.DataFrame, **levels: str) -> pd.DataFrame:
    for column, level in levels.items():
        rows = rows[rows[column] == level]
    return rows


def test_cells_and_headline_are_the_predictions_own_measures(study: Path) -> None:
    cells, headline = table(study, "cells"), table(study, "headline")
    values = {"qwk": [], "auc": []}
    for seed in (0, 1):
        predictions = pd.read_csv(study / "cells" / f"dual_{seed}" / "predictions.csv")
        qwk = cohen_kappa_score(
            predictions["label_kl"], predictions["pred_kl"], weights="quadratic", labels=range(5)
        )
        values["qwk"].append(qwk)
        values["auc"].append(roc_auc_score(predictions["label_oa"], predictions["prob_oa"]))
    for (task, metric), expected in zip((("KL", "qwk"), ("OA", "auc")), values.values(), strict=True):
        rows = only(cells, supervision="dual", task=task, metric=metric)
        np.testing.assert_allclose(rows.sort_values("seed")["value"], expected, atol=1e-9)
        (row,) = only(headline, supervision="dual", task=task, metric=metric).to_dict("records")
        assert row["value"] == pytest.approx(np.mean(expected))
        assert row["seed_sd"] == pytest.approx(np.std(expected, ddof=1))
        assert (row["seeds"], row["knees"], row["subjects"]) == (2, 10, 5)
        assert row["scope"] in ("recipe", "trained models")
    probes = headline.groupby(["supervision", "task"])["probe"].first()
    assert probes.to_dict() == {
        ("dual", "KL"): False,
        ("dual", "OA"): False,
        ("single-oa", "KL"): True,
        ("single-oa", "OA"): False,
    }


def test_comparisons_pair_the_supervisions(study: Path) -> None:
    rows, headline = table(study, "comparisons"), table(study, "headline")
    assert set(zip(rows["model_a"], rows["model_b"], strict=True)) == {("single-oa", "dual")}
    assert rows.set_index(["task", "metric"]).loc[("KL", "qwk")]["probe_a"]
    for side in ("a", "b"):
        level = rows[f"model_{side}"].iloc[0]
        expected = only(headline, supervision=level).set_index(["task", "metric"])["value"]
        found = rows.set_index(["task", "metric"])[side]
        np.testing.assert_allclose(found, expected.loc[found.index], atol=1e-9)
    np.testing.assert_allclose(rows["difference"], rows["b"] - rows["a"], atol=1e-9)
    known = rows["p_value"].notna()
    ranked = rows[known].sort_values("p_value")
    steps = ranked["p_value"].to_numpy() * len(ranked) / np.arange(1, len(ranked) + 1)
    np.testing.assert_allclose(ranked["p_adjusted"], np.minimum.accumulate(steps[::-1])[::-1].clip(max=1))


def test_axes_are_fitted_on_training_knees_and_measured_on_test_knees(study: Path) -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    folder = study / "cells" / "dual_0"
    train = np.load(folder / "train" / "embeddings.npz")["embedding"]
    test = np.load(folder / "embeddings.npz")["embedding"]
    scaler = StandardScaler().fit(train)
    pca = PCA(n_components=1, svd_solver="full").fit(scaler.transform(train))
    projection = pca.transform(scaler.transform(test))[:, 0]
    labels = pd.read_csv(folder / "predictions.csv")["label_kl"]
    row = table(study, "axis").query("cell == 'dual_0' and kind == 'pca'").iloc[0]
    assert row["spearman_kl"] == pytest.approx(abs(spearmanr(projection, labels)[0]), abs=1e-5)
    assert row["explained_variance"] == pytest.approx(pca.explained_variance_ratio_[0], abs=1e-4)
    places = pd.read_csv(folder / "axis.csv")
    assert abs(np.corrcoef(places["pca"], projection)[0, 1]) == pytest.approx(1, abs=1e-5)
    compared = table(study, "axis_comparisons").set_index(["kind", "metric"])
    wide = table(study, "axis").query("kind == 'pca'").groupby("supervision")["spearman_kl"].mean()
    assert compared.loc[("pca", "spearman_kl")]["difference"] == pytest.approx(
        wide["dual"] - wide["single-oa"]
    )


def test_similarity_is_between_seeds_and_between_supervisions(study: Path) -> None:
    found = table(study, "similarity").set_index(["between", "a", "b"])
    assert found["pairs"].to_dict() == {
        ("seed", "single-oa", "single-oa"): 1, ("seed", "dual", "dual"): 1,
        ("supervision", "single-oa", "dual"): 4,
    }  # fmt: skip
    x, y = (np.load(study / "cells" / f"dual_{seed}" / "embeddings.npz")["embedding"] for seed in (0, 1))
    row = found.loc["seed", "dual", "dual"]
    assert row["cka"] == pytest.approx(linear_cka(x, y))
    assert row["ci_low"] < row["cka"] < row["ci_high"] <= 1
    assert (row["knees"], row["subjects"]) == (10, 5)


def test_an_axis_is_evaluated_once_however_often_it_is_compared(
    study: Path, compared_thrice: Callable[[ModuleType, Study], list[Any]]
) -> None:
    found = read_study(study)
    (once,) = pairs(found)
    calls = compared_thrice(axis_tables, found)
    made = AxisTables(found)
    rows = [row for _, row in made.comparisons()]
    kinds = {row.task for row in rows}
    assert repr(rows[: len(rows) // 3] * 3) == repr(rows)
    assert len(calls) == len(rows) // 3 * 4, "four cells"
    assert len(rows) == 3 * 3 * len(kinds) >= 9
    for row in rows[: len(rows) // 3]:
        sides = [[made._axes[cell.name, row.task] for cell in cells] for cells in (once.a, once.b)]
        axis = sides[0][0]
        expected = paired_statistic(
            *([one.statistics()[row.metric] for one in side] for side in sides),
            np.array(axis.subject)[axis.known], task=row.task, metric=row.metric, largest=1.0, paired=True,
        )  # fmt: skip
        assert repr(row) == repr(expected), "to the bit"


def test_columns_of_a_manifest_are_compared_with_every_axis(
    study: Path, knees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = pd.read_csv(knees, dtype=str).assign(bright=lambda rows: rows["kl"].astype(float) + 0.5)
    path = knees.parent / "columns.csv"
    known.assign(again=known["subject"]).to_csv(path, index=False)
    given: dict[str, AxisColumns] = {}
    monkeypatch.setattr("oahier.study.tables.write_tables", lambda _, **options: given.update(options))
    monkeypatch.setattr("oahier.study.report.write_report", lambda folder, **_: folder)
    words = ["study", "report", str(study), "--covariates=bright", "--repeats=again", f"--manifest={path}"]
    assert main(words) == 0
    tables = AxisTables(read_study(study), given["columns"])
    orders, axis = pd.DataFrame(tables.orders()), pd.DataFrame(tables.rows())
    assert len(orders) == 4 * 4 * 8
    assert set(orders["note"].str[1:]) == {" subjects, 10 are needed", "o grade with 10 subjects"}
    assert set(axis["discernible_note"]) == {"5 subjects with repeated scans, 10 are needed"}
    contents = Contents(
        read_study(study), {"axis_order": orders, "axis": axis, "similarity": table(study, "similarity")}
    )
    shown = order_view(contents)
    assert shown is not None
    assert shown.columns[-8:] == ["KL 0", "KL 1", "KL 2", "KL 3", "KL 4", "no OA", "OA", "inside grades"]
    assert len(shown.rows) == 4
    assert shown.rows[0][-1].hint.endswith("no grade with 10 subjects")
    assert "grades told apart" in axis_view(contents, ["pca"]).columns
    assert [row[0].text for row in similarity_view(contents).rows] == ["seed", "seed", "supervision"]
    tables.columns = AxisColumns(["dark"])
    with pytest.raises(ManifestError, match="covariate 'dark': expected a column of numbers, one of"):
        tables.orders()


def test_metrics_tables_and_predictions_have_one_axis(study: Path, knees: Path, tmp_path: Path) -> None:
    folder = study / "cells" / "dual_1"
    logged = json.loads((folder / "metrics.json").read_text())["metrics"]
    row = table(study, "axis").query("cell == 'dual_1' and kind == 'pca'").iloc[0]
    names = [name for name in row.index if f"test/axis/{name}" in logged]
    assert len(names) > 10
    for name in names:
        value = logged[f"test/axis/{name}"]
        assert row[name] == pytest.approx(math.nan if value is None else value, rel=1e-5, nan_ok=True), name
    assert not any("axis_online" in name for name in logged)

    predicted = predict_scans(
        folder / "checkpoints" / "best.ckpt", knees, tmp_path, pages=False, overlays=False
    ).table.set_index("knee")["axis"]
    places = pd.read_csv(folder / "axis.csv").set_index("knee")["pca"]
    np.testing.assert_allclose(predicted.loc[places.index], places, rtol=1e-3, atol=1e-3)


def test_saliency_has_chance_and_controls(study: Path) -> None:
    rows = table(study, "saliency")
    assert set(rows["method"]) == {"gradcam-oa", "gradcam-kl"}
    cells = [pd.read_csv(study / "cells" / f"dual_{seed}" / "saliency" / "gradcam-oa.csv") for seed in (0, 1)]
    (row,) = only(rows, supervision="dual", method="gradcam-oa", measure="mass_in_cartilage").to_dict(
        "records"
    )
    mass = np.stack([cell["mass_in_cartilage"] for cell in cells])
    known = np.isfinite(mass).all(axis=0)
    assert known.sum() == row["knees"] > 0
    assert row["value"] == pytest.approx(mass[:, known].mean(), rel=1e-6)
    assert row["chance"] == pytest.approx(2 / 12)
    assert row["randomised"] == pytest.approx(
        np.mean([cell["mass_in_cartilage_randomised"].mean() for cell in cells]), rel=1e-6
    )
    compared = table(study, "saliency_comparisons")
    assert set(compared["method"]) == {"gradcam-oa"}


def test_unfinished_cells_are_told_and_left_out(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(study, folder)
    (folder / "cells" / "dual_1" / "metrics.json").unlink()
    (folder / "cells" / "dual_1" / "failure.txt").write_text("Traceback\nMemoryError: too large\n")
    write_tables(read_study(folder))
    (row,) = table(folder, "cells").query("cell == 'dual_1'").to_dict("records")
    assert row["state"] == "failed"
    assert set(table(folder, "headline").query("supervision == 'dual'")["seeds"]) == {1}
    assert set(table(folder, "comparisons")["seeds"]) == {1}
    content = json.loads((folder / "cells" / "dual_0" / "cell.json").read_text())
    assert content["factors"]["supervision"] == "dual"


def test_a_saliency_table_without_a_column_is_named(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(study, folder)
    path = folder / "cells" / "dual_1" / "saliency" / "gradcam-kl.csv"
    pd.read_csv(path).drop(columns="pointing").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"dual_1.saliency.gradcam-kl.csv: expected a column 'pointing'"):
        write_tables(read_study(folder))


def test_the_same_tables_again(study: Path) -> None:
    before = {path.name: path.read_bytes() for path in (study / "tables").iterdir()}
    write_tables(read_study(study))
    assert {path.name: path.read_bytes() for path in (study / "tables").iterdir()} == before
