"""The definitive study: arms and doses, pooled folds, an arm without a network, declared endpoints."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from oahier.cli import main
from oahier.study import PlanError, definitive, prepare_study, read_plan, read_study
from oahier.study.covariate_arm import grade_probabilities, with_covariate_arm
from oahier.study.folds import pooled
from oahier.study.report.contents import read_contents
from oahier.study.report.methods import methods
from oahier.study.runner import resolved_cells
from oahier.study.tables import write_tables

KNEES = 60


def manifest(folder):
    generator = np.random.default_rng(0)
    rows = [["knee", "subject", "mri", "kl", "split", "age", "gap_mm"]]
    for knee in range(KNEES):
        (folder / f"{knee}.nii.gz").touch()
        grade = knee % 5
        gap = 5 - grade + generator.normal(0, 0.7)
        names = [f"k{knee:02d}", f"s{knee // 2}", f"{knee}.nii.gz"]
        rows.append([*names, grade, "train", 50 + 2 * grade, f"{gap:.3f}"])
    with (folder / "knees.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def plan(folder, **entries):
    content = {
        "name": "mini", "preset": "definitive", "covariate": "gap_mm",
        "base": {
            "trainer": {"max_epochs": 1},
            "model": {
                "encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8}},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001}},
            },
            "data": {"manifest": "knees.csv", "shape": [12, 14, 12], "spacing": [2, 2, 2]},
        },
        "grid": {"dose": ["clean"], "supervision": ["single-kl", "dual"], "seed": [0, 1], "fold": [0, 1]},
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content | entries, sort_keys=False))
    return read_plan(path)


def pretend(folder, skill):
    """Files of finished cells, with predictions as good as the arm's skill."""
    table = pd.read_csv(folder / "knees.csv")
    for cell in read_study(folder / "out").cells:
        seed, fold = int(cell.factors["seed"]), int(cell.factors["fold"])
        generator = np.random.default_rng([seed, fold, len(cell.factors["supervision"])])
        inside = np.random.default_rng(seed).permutation(KNEES // 2)[: KNEES // 4]  # subjects of fold 0
        held_out = table["subject"].isin([f"s{subject}" for subject in inside]) == (fold == 0)
        for part, rows in (("", table[held_out]), ("train", table[~held_out])):
            centre = rows["kl"] + generator.normal(0, skill[cell.factors["supervision"]], len(rows))
            p = np.exp(-((np.arange(5) - centre.to_numpy()[:, None]) ** 2))
            p /= p.sum(axis=1, keepdims=True)
            made = rows[["knee", "subject"]].assign(
                label_kl=rows["kl"], label_oa=(rows["kl"] >= 2).astype(int)
            )
            made["prob_oa"] = p[:, 2:].sum(axis=1)
            made = made.assign(**{f"prob_kl_{grade}": p[:, grade] for grade in range(5)})
            (cell.folder / part).mkdir(exist_ok=True)
            made.to_csv(cell.folder / part / "predictions.csv", index=False)
        (cell.folder / "metrics.json").write_text(json.dumps({"seconds": 1.0, "epoch": 1}))


def tables_of(out):
    """The tables that the report is made of."""
    study = read_study(out)
    made = with_covariate_arm(study, pooled(study))
    write_tables(made, margins={"qwk": 0.05})
    return made.folder


def test_the_plan_is_data_and_every_arm_is_valid(tmp_path):
    manifest(tmp_path)
    whole = plan(tmp_path, grid={"seed": [0], "fold": [0, 1]})
    cells = {"_".join(list(cell.factors.values())[:2]): config for cell, config in resolved_cells(whole)}
    arms = [name.split("_")[1] for name in cells if name.startswith("clean_")]
    assert arms == [arm for arm in definitive.GRID["supervision"] if arm != "placebo-twin"]
    assert len(cells) == 9 + 2 * 7 + 2 * 8, "controls at the first dose, twins across the border"
    model = {name: config["model"] for name, config in cells.items()}
    assert model["clean_single-oa"]["probes"] == ["kl"]
    assert model["clean_dual-published"]["heads"]["oa"]["init_args"]["reads"] == "kl"
    assert model["clean_conditional"]["heads"]["kl"]["class_path"].endswith("ConditionalHead")
    assert "HierarchicalCrossEntropy" in str(model["clean_hace"]["heads"]["kl"])
    assert set(cells["across-30_placebo-twin"]["data"]["relabel"]) == {"noise", "placebo"}
    assert cells["across-15_dual"]["data"]["relabel"]["noise"]["init_args"] == {"share": 0.15, "across": True}
    assert "WithoutJoint" in str(cells["clean_control-no-joint"]["data"]["preprocessing"])
    assert cells["clean_dual"]["data"]["split"]["init_args"] == {
        "test": 1,
        "count": 2,
        "val": 0.15,
        "anew": True,
    }
    for grid, message in (
        ({"fold": ["a"]}, "grid.fold: expected the whole numbers from 0 to 0, got 'a'"),
        ({"dose": ["block-7"]}, "grid.dose: expected some of clean, block-15"),
        ({"supervision": ["placebo"]}, "grid.supervision: expected one of .*placebo-shuffled"),
    ):
        with pytest.raises(PlanError, match=message):
            plan(tmp_path, grid=grid)


def test_the_digest_follows_what_is_trained_and_compared(tmp_path):
    manifest(tmp_path)
    prepare_study(plan(tmp_path), tmp_path / "out")
    first = read_study(tmp_path / "out").facts["plan"]
    prepare_study(plan(tmp_path), tmp_path / "out")
    assert read_study(tmp_path / "out").facts["plan"] == first
    prepare_study(plan(tmp_path, covariate="age"), tmp_path / "out")
    facts = read_study(tmp_path / "out").facts
    assert facts["plan"] != first
    assert facts["earlier_plans"] == [first]


def test_folds_are_pooled_and_endpoints_are_those_of_the_plan(tmp_path):
    manifest(tmp_path)
    prepare_study(plan(tmp_path), tmp_path / "out")
    pretend(tmp_path, {"single-kl": 1.2, "dual": 0.4})
    folder = tables_of(tmp_path / "out")
    whole = pd.read_csv(folder / "cells" / "clean_dual_0" / "predictions.csv")
    assert sorted(whole["knee"]) == [f"k{knee:02d}" for knee in range(KNEES)]
    rows = pd.read_csv(folder / "tables" / "primary_comparisons.csv")
    assert rows[["model_a", "model_b"]].drop_duplicates().to_numpy().tolist() == [["single-kl", "dual"]]
    assert rows["metric"].tolist() == [
        "qwk",
        "Spearman with gap_mm in KL 0 to 1",
        "Spearman with gap_mm in KL 2 to 4",
    ]
    assert set(rows["correction"]) == {"holm"}
    assert rows["margin"].tolist()[0] == 0.05
    table = pd.read_csv(tmp_path / "knees.csv").set_index("knee")
    values = []
    for seed in (0, 1):
        one = pd.read_csv(folder / "cells" / f"clean_dual_{seed}" / "predictions.csv")
        p = one[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy()
        inside = one["label_kl"] >= 2
        gap = table["gap_mm"].reindex(one["knee"]).to_numpy()
        values.append(
            [
                cohen_kappa_score(one["label_kl"], p.argmax(axis=1), weights="quadratic", labels=range(5)),
                -spearmanr((p @ np.arange(5))[inside], gap[inside]).statistic,
            ]
        )
    qwk, severe = np.mean(values, axis=0)
    assert rows["b"].iloc[0] == pytest.approx(qwk)
    assert rows["b"].iloc[2] == pytest.approx(severe)
    told = " ".join(methods(read_contents(folder))[0].split())
    assert read_study(folder).facts["plan"] in told
    assert "multinomial logistic regression of age on the same folds" in told
    control = pd.read_csv(folder / "cells" / "clean_control-covariates_0" / "predictions.csv")
    assert len(control) == KNEES
    p = control[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert cohen_kappa_score(control["label_kl"], p.argmax(axis=1), weights="quadratic") > 0.8, (
        "age tells the grade"
    )
    compared = pd.read_csv(folder / "tables" / "comparisons.csv")
    pairs = set(map(tuple, compared[["model_a", "model_b"]].to_numpy().tolist()))
    assert pairs == {("single-kl", "dual"), ("control-covariates", "dual")}
    (tmp_path / "out" / "cells" / "clean_dual_1_1" / "metrics.json").unlink()
    states = {cell.name: cell.error for cell in pooled(read_study(tmp_path / "out")).cells}
    assert states["clean_dual_1"] == "folds 1 of 2 are not finished"


def test_encoders_are_summed_up_with_random_effects(tmp_path):
    from statsmodels.stats.meta_analysis import combine_effects

    manifest(tmp_path)
    encoders = {
        name: {"model.encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": width}}}
        for name, width in (("thin", 8), ("wide", 16))
    }
    grid = {
        "backbone": encoders,
        "dose": ["clean"],
        "supervision": ["single-kl", "dual"],
        "seed": [0, 1],
        "fold": [0, 1],
    }
    prepare_study(plan(tmp_path, grid=grid), tmp_path / "out")
    pretend(tmp_path, {"single-kl": 1.2, "dual": 0.4})
    tables_of(tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "pooled" / "tables" / "primary_comparisons.csv")
    every, single = (rows[(rows["backbone"] == "all") == whole] for whole in (True, False))
    assert (len(every), len(single)) == (3, 6)
    assert single["p_adjusted"].isna().all()
    assert every["p_adjusted"].notna().all()
    for line in every.itertuples():
        part = single[single["metric"] == line.metric]
        effects, variances = part["difference"].to_numpy(), part["standard_error"].to_numpy() ** 2
        with np.errstate(all="ignore"):  # statsmodels leaves negative variances between studies as they are
            between = max(combine_effects(effects, variances, method_re="dl").tau2, 0)
        weights = 1 / (variances + between)
        assert line.difference == pytest.approx(effects @ weights / weights.sum())
        alone = np.sqrt(1 / weights.sum())
        assert line.standard_error > alone, "the same knees: errors of encoders are not independent"
        assert line.df == 1
        reach = 12.7062 * line.standard_error
        assert line.ci_high == pytest.approx(min(line.difference + reach, 2), abs=1e-3)
        assert "t interval of 1 df" in line.note


def test_a_model_without_network_gives_absent_grades_no_chance():
    p = grade_probabilities(
        np.array([[0.0], [1.0], [2.0], [np.nan]]), [0, 1, 3, 3], np.array([[0.0], [np.nan]])
    )
    assert p.shape == (2, 5)
    assert (p[:, [2, 4]] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_phantoms_from_plan_to_report(tmp_path, capsys):
    """All arms at toy size, interrupted once."""
    assert main(["data", "phantom", str(tmp_path), "--knees", "30", "--shape", "[16,24,24]"]) == 0
    (tmp_path / "manifest.csv").rename(tmp_path / "knees.csv")
    left_out = [
        {"dose": "across-30", "supervision": arm}
        for arm in definitive.GRID["supervision"]
        if arm not in ("dual", "placebo-twin", *definitive.CONTROLS)
    ]
    grid = {"dose": ["clean", "across-30"], "seed": [0, 1], "fold": [0, 1]}
    written = plan(tmp_path, covariate="severity", without=left_out, grid=grid)
    path = tmp_path / "study.yaml"
    content = yaml.safe_load(path.read_text())
    content["base"]["data"] |= {"shape": [16, 24, 24], "spacing": [7, 5.33, 5.33], "augmentation": None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    out = tmp_path / "out"
    assert main(["study", "run", str(path), "--out", str(out)]) == 0
    assert main(["study", "run", str(path), "--out", str(out)]) == 0, "nothing is left to do"
    assert len(read_study(out).cells) == len(written.cells()) == 44
    assert main(["study", "report", str(out)]) == 0
    rows = pd.read_csv(out / "pooled" / "tables" / "primary_comparisons.csv")
    assert len(rows) == 3 * 3
    page = (out / "pooled" / "report" / "index.html").read_text()
    assert read_study(out).facts["plan"] in page
    assert "Primary endpoints" in page
    capsys.readouterr()
