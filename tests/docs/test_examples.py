"""Every script of ``examples`` does what it says; the command line takes every configuration."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

import oahier as oh
from oahier.cli import main
from oahier.encoders import load_pretrained
from oahier.metrics import weighted_qwk
from oahier.phantom import PhantomPlan, make_phantoms
from oahier.statistics import adjust_p_values
from oahier.study import read_plan
from oahier.study.configuration import resolve

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG_FOLDER = Path(oh.__file__).parent / "configs"
CONFIGS = sorted(path for path in CONFIG_FOLDER.glob("*.yaml") if path.stem != "change")
"""Those of classifiers; ``tests/cli/test_change_configuration.py`` trains the other."""
SMALL = [
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
    "--model.encoder.init_args.depth=10",
    "--model.encoder.init_args.width=8",
    "--data.shape=[12,16,16]",
]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python looks when a script of ``examples`` is run."""
    monkeypatch.syspath_prepend(EXAMPLES)


def load(name: str) -> ModuleType:
    """An example as a module, without running its main block."""
    return importlib.import_module(name)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_example_is_run_here() -> None:
    tested = Path(__file__).read_text()
    for script in EXAMPLES.glob("*.py"):
        assert f'load("{script.stem}")' in tested, f"{script.name} has no test"


def test_reader_noise(short: Path) -> None:
    module = load("reader_noise")
    words = ["--folder=runs/readers", "--knees=60", "--agreements=0.8", "--seeds=2"]
    module.main(module.arguments([word for item in words for word in item.split("=")]))
    found = rows(Path("runs/readers/matrices.csv"))
    assert len(found) == 13
    assert all(float(row["ci_low"]) <= float(row["error"]) <= float(row["ci_high"]) for row in found)
    assert len(rows(Path("runs/readers/gain.csv"))) == 4


@pytest.mark.slow
def test_phantom_pretraining(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("phantom_pretraining")
    monkeypatch.setattr(module, "SHAPE", (16, 32, 32))
    monkeypatch.setattr(module, "SPACING", (7.0, 4.0, 4.0))
    words = ["--folder=runs/bones", "--knees=20", *SMALL]
    assert module.train(words) == 0
    written = rows(Path("runs/bones/knees/manifest.csv"))
    assert [row["split"] for row in written].count("val") == 2
    bones = np.asarray(nib.nifti1.load(Path("runs/bones/knees") / written[0]["mri"]).dataobj)
    assert bones.min() == 0
    assert bones.max() > 200
    assert 0.05 < (bones > 127).mean() < 0.6
    encoder = oh.ResNet3D(depth=10, width=8)
    checkpoint = Path("runs/bones/run/checkpoints/best.ckpt")
    assert load_pretrained(encoder, checkpoint).share == 1


@pytest.mark.slow
def test_saliency_truth(short: Path) -> None:
    module = load("saliency_truth")
    words = "--folder runs/truth --knees 12 --test 4 --epochs 1 --seeds 2 --perturbed 2 --shape 16 16 16"
    chosen = module.options([*words.split(), "--backbones", "resnet3d", "--targets", "cartilage", "mark"])
    table = module.main(chosen)
    assert set(table["target"]) == {"cartilage", "mark"}
    moved = module.main(
        module.options([*words.split(), "--probe", "--backbones", "resnet3d", "--targets", "mark"])
    )
    assert len(moved) == 2 * 15 * 2
    assert "depends on the mark" in Path("runs/truth/probe.md").read_text()
    assert {"input_itself", "smoothgrad"} <= set(table["method"])
    assert (table["enrichment"] >= 0).all()
    before = {path: path.stat().st_mtime_ns for path in Path("runs/truth/cells").iterdir()}
    assert len(before) == 4
    module.main(chosen)  # nothing is computed again
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs/truth/cells").iterdir()}


@pytest.mark.slow
def test_change_over_visits(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oh, "make_phantoms", make_phantoms)  # into the folder of the example
    module = load("change_over_visits")
    words = "--folder runs/change --knees 40 --epochs 1 --change-epochs 1 --shape 12 16 16"
    table = module.main(module.arguments(words.split())).set_index("score")
    assert list(table.index) == ["change model", "grades", "true change", "best possible"]
    assert (table["ci_low"] <= table["auc"]).all()
    assert table.loc["best possible", "auc"] > table.loc["true change", "auc"] > 0.6
    pairs = rows(Path("runs/change/pairs.csv"))
    assert {row["months"] for row in pairs} == {"24", "48"}
    assert len({row["subject"] for row in pairs}) * 6 == len(pairs), "three pairs of both knees"
    before = Path("runs/change/change/last.ckpt").stat().st_mtime_ns
    module.main(module.arguments(words.split()))
    assert before == Path("runs/change/change/last.ckpt").stat().st_mtime_ns


@pytest.mark.slow
@pytest.mark.parametrize("way", [[], ["--features"]])
def test_label_doubt(short: Path, way: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oh, "make_phantoms", make_phantoms)  # into the folder of the example
    module = load("label_doubt")
    words = ["--folder", "runs/doubt", "--knees", "40", "--epochs", "1", "--folds", "3", *way]
    table = module.main(module.arguments([*words, "--shape", "12", "16", "16"]))
    assert list(table["score"]) == ["label_doubt", "cleanlab self_confidence", "cleanlab normalized_margin"]
    assert table["auc"].between(0, 1).all()


@pytest.mark.slow
def test_adrenal_mnist(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On made shapes, large ones positive: threshold and temperature come from validation."""
    generator = np.random.default_rng(0)
    content = {}
    for split, count in (("train", 40), ("val", 20), ("test", 20)):
        labels = np.arange(count) % 2
        reach = 4 + 4 * labels + generator.random(count)
        grid = np.stack(np.meshgrid(*[np.arange(28) - 13.5] * 3, indexing="ij"))
        inside = np.sqrt((grid**2).sum(axis=0)) < reach[:, None, None, None]
        content |= {f"{split}_images": inside.astype(np.uint8) * 255, f"{split}_labels": labels[:, None]}
    np.savez("shapes.npz", **content)
    found = load("adrenal_mnist").main("shapes.npz", "runs/adrenal", seeds=1, epochs=1, width=8)
    assert 0 <= found[0]["test/oa/accuracy"] <= 1
    metrics = json.loads(Path("runs/adrenal/seed_0/metrics.json").read_text())
    assert "largest accuracy" in metrics["decisions"][0]
    assert "auc: " in capsys.readouterr().out


@pytest.mark.slow
def test_quick_start(short: Path) -> None:
    trainer = load("quick_start").quick_start(folder="runs/quick", knees=20, epochs=1)
    run = short / "runs" / "quick"
    predicted = rows(run / "predictions.csv")
    assert {row["knee"] for row in predicted} == set(trainer.datamodule.manifest.subset("test").table["knee"])
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert -1 <= values["test/kl/qwk"] <= 1
    assert 0 <= values["test/oa/auc"] <= 1
    assert 0 <= values["test/axis/explained_variance"] <= 1
    assert "test/saliency/enrichment" in values
    assert json.loads((run / "metrics.json").read_text())["stage"] == "test"
    assert {path.name for path in (run / "pictures").glob("*.png")} >= {"severity_axis.png", "saliency.png"}


def test_own_data(short: Path) -> None:
    trainer = load("own_data").main(folder="runs/own")
    run = short / "runs" / "own"
    manifest = oh.read_manifest(run / "knees.csv")
    assert len(manifest) == 20
    assert not manifest.has_splits, "the splits are made by the data module"
    assert sum((run / part).is_file() for part in ("predictions.csv", "embeddings.npz", "metrics.json")) == 3
    splits = trainer.datamodule.manifest.table.groupby("subject")["split"].nunique()
    assert (splits == 1).all()


def test_custom_head(short: Path) -> None:
    trainer = load("custom_head").main(folder="runs/head")
    head = trainer.lightning_module.heads["kl"]
    assert (head.num_logits, head.num_classes) == (4, 5)
    assert math.isfinite(float(trainer.callback_metrics["test/kl/rps"]))


@pytest.mark.slow
def test_custom_encoder(short: Path) -> None:
    own, plain = load("custom_encoder").main(folder="runs/encoder")
    assert own.lightning_module.encoder.num_features == 32
    assert plain.lightning_module.encoder.num_features == 16
    assert (short / "runs/encoder/own/saliency.csv").is_file()
    plain_run = short / "runs/encoder/plain"
    assert not (plain_run / "validation/saliency.csv").is_file(), "an embedding has no grid to explain"
    (method,) = {row["method"] for row in rows(plain_run / "saliency.csv")}
    assert method == "integrated_gradients", "which needs none"


@pytest.mark.slow
def test_single_versus_dual(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = load("single_versus_dual").main(folder="runs/compare")
    assert list(results) == ["single-oa", "single-kl", "dual"]
    keys = {frozenset(name for name in values if name.startswith("test/")) for values in results.values()}
    assert len(keys) == 1, "probes give every model the same measures"
    assert "dual" in capsys.readouterr().out


@pytest.mark.slow
def test_cross_validation(small: Path, phantoms: Any) -> None:
    script = load("cross_validate")
    copy = small / "knees.csv"
    table = phantoms.table.drop(columns=["split"])
    table["mri"] = [str(phantoms.root / cell) for cell in table["mri"]]
    table.drop(columns=["cartilage"]).to_csv(copy, index=False)
    options = [*SMALL, "--trainer.logger=false", "--data.batch_size=8"]
    held_out = script.run_folds(copy, small / "folds", 2, options)
    assert sorted(held_out["knee"]) == sorted(table["knee"]), "every knee is held out once"
    report = script.report(held_out, table.set_index("knee")["severity"])
    named = list(report.columns[0].cells)
    assert "KL qwk" in named
    assert "severity: KL severe_auc" in named
    before = (small / "folds/fold-0/metrics.json").stat().st_mtime_ns
    script.run_folds(copy, small / "folds", 2, options)
    assert (small / "folds/fold-0/metrics.json").stat().st_mtime_ns == before, "a finished fold is kept"
    with pytest.raises(SystemExit, match=r"fold-0 was trained with options: .*name another --folder"):
        script.run_folds(copy, small / "folds", 2, [*options, "--trainer.max_epochs=1"])
    copy.write_text(copy.read_text().replace(",4", ",3", 1))
    with pytest.raises(SystemExit, match="fold-0 was trained with other knees or labels"):
        script.run_folds(copy, small / "folds", 2, options)


def test_cross_validation_takes_the_training_knees_of_a_manifest_with_splits(
    small: Path, phantoms: Any
) -> None:
    script, manifest = load("cross_validate"), phantoms.path
    made = oh.read_manifest(script.without_splits(manifest, small / "folds"))
    assert list(made.table["knee"]) == list(phantoms.subset("train").table["knee"])
    assert not made.has_splits
    assert made.file(0, "mri").samefile(phantoms.subset("train").file(0, "mri"))
    assert script.without_splits(made.path, small / "again") == made.path


@pytest.mark.slow
def test_methods_bench(tmp_path: Path) -> None:
    example = load("methods_bench")
    found = example.main(example.options(["--quick", "--folder", str(tmp_path)]))
    assert set(found["method"]) == {"single-kl", "known", "coral", "median", "rounded", "stretched"}
    assert set(found["reading"]) == {"block-70"}
    assert found["seeds"].eq(2).all()
    decided = found[found["method"] == "median"]
    assert set(decided["metric"]) == {"qwk", "mae", "accuracy"}, "a rule changes decisions alone"
    values = pd.read_csv(tmp_path / "values.csv").set_index(["method", "metric"])["value"]
    row = found[(found["method"] == "coral") & (found["metric"] == "qwk")].iloc[0]
    assert row["difference"] == pytest.approx(values["coral", "qwk"] - values["dual", "qwk"], abs=1e-5)
    assert (tmp_path / "differences.svg").stat().st_size > 10_000
    read = rows(tmp_path / "block-70_1.csv")
    assert [row["split"] for row in read] == ["test"] * 40 + ["train"] * 12
    assert all(row["kl"] == row["true_kl"] for row in read[:40])
    other = {row["knee"] for row in rows(tmp_path / "block-70_0.csv")[40:]}
    assert other.isdisjoint(row["knee"] for row in read[40:])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    example.main(example.options(["--quick", "--folder", str(tmp_path)]))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == before


@pytest.mark.slow
def test_axis_limits(tmp_path: Path) -> None:
    example, arms = load("axis_limits"), load("axis_limits_training").ARMS
    words = ["--quick", "--folder", str(tmp_path), "--grids", "whole", "--arms"]
    chosen = ["baseline", "true severity as label", "four times the knees"]
    made = example.main(example.arguments([*words, *chosen]))
    assert set(chosen) < set(arms)
    assert set(made["images"]["row"]) == {*example.SETS, "ideal reader"}
    assert set(made["trainings"]["row"]) == {*chosen, "baseline, averaged"}
    own = made["trainings"][made["trainings"]["row"] == "baseline"].set_index(["axis", "metric"])
    assert own["difference"].dropna().eq(0).all()
    assert own["seeds"].eq(2).all()
    read = [rows(tmp_path / "whole" / f"{name}_1.csv") for name in ("read", "true", "more")]
    trained = [[row for row in one if row["split"] == "train"] for one in read]
    assert [len(one) for one in trained] == [12, 12, 48]
    assert all(row["kl"] == row["true_kl"] for row in trained[1])
    assert 0 < sum(row["kl"] != row["true_kl"] for row in trained[2]) < 48
    assert trained[2][:12] == [row | {"month": "0", "rate": row["rate"]} for row in trained[0]]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*_*.npz")}
    assert len(before) == 6
    example.main(example.arguments([*words, *chosen]))  # nothing is trained again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*_*.npz")} == before


def test_an_ideal_reader_errs_less_on_finer_voxels_and_without_noise() -> None:
    reader = load("axis_limits_reader")
    (plan,) = [scan for scan in PhantomPlan(knees=2).scans() if scan.severity > 0.5][:1]
    coarse = reader.ideal(plan, (12, 16, 16), (9.0, 8.0, 8.0))
    fine = reader.ideal(plan, (24, 32, 32), (4.5, 4.0, 4.0))
    noisy = reader.ideal(replace(plan, scan=replace(plan.scan, noise=0.3)), (12, 16, 16), (9.0, 8.0, 8.0))
    assert 0 < fine.spread < coarse.spread < noisy.spread < 0.5
    for one in (coarse, fine, noisy):
        assert 0 < one.repeat <= one.spread, "another anatomy is one more thing to err about"


def test_measurements_of_a_knee_follow_its_severity_on_either_side() -> None:
    measure = load("axis_limits_images").measured
    (plan,) = [scan for scan in PhantomPlan(knees=2).scans() if scan.severity > 0.5][:1]
    grid = ((32, 32, 48), (3.5, 4.0, 2.6667))
    plan = replace(plan, scan=replace(plan.scan, noise=0.0, bias=0.0))
    right, left, healthy = (
        measure(replace(plan, **change), *grid, signal=True)
        for change in ({"side": "right"}, {"side": "left"}, {"severity": 0.0})
    )
    assert left == pytest.approx(right, rel=1e-3)
    for name in ("labels: gap medial", "labels: medial_tibial mm3", "exact: gap medial"):
        assert right[name] < healthy[name]
    for name in ("labels: area 1 at 7", "intensities: marrow tibia medial", "intensities: recess"):
        assert right[name] > healthy[name]
    assert not any(value for name, value in healthy.items() if name.startswith("signal"))


def test_every_method_of_the_bench_is_a_configuration(tmp_path: Path) -> None:
    example = load("methods_bench")
    assert set(load("methods_tables").METRICS) >= {"severity", "in a grade", "qwk", "accuracy"}
    options = example.options([])
    names = list(example.methods("block-40"))
    assert len(names) == 40
    chosen = {name: example.Run(tmp_path, name, "block-40", 3).config(options)["model"] for name in names}
    heads = {name: model["heads"]["kl"] for name, model in chosen.items()}
    base = chosen.pop("dual")
    assert all(model != base for model in chosen.values()), "every method differs from the baseline"
    known = heads["known"]["init_args"]["criterion"]["init_args"]["readers"][0]
    assert known["init_args"]["matrix"][0][:2] == pytest.approx([0.4, 0.6])
    assert heads["two-readings"]["init_args"]["target"] == ["kl", "kl_2"]
    for reading, blocks in (("block-40", [0, 0, 1, 1, 1]), ("across-70", None)):  # readings in two blocks
        model = example.Run(tmp_path, "two-readers", reading, 3).config(options)["model"]
        arguments = model["heads"]["kl"]["init_args"]
        assert [one["init_args"]["blocks"] for one in arguments["criterion"]["init_args"]["readers"]] == [
            blocks
        ] * 2
        assert arguments["target"] == ["kl", "kl_2"]


def test_seeds_of_real_knees_are_averaged_by_knee() -> None:
    script = load("real_knees")
    grades = [f"prob_kl_{grade}" for grade in range(5)]
    table = pd.DataFrame({"knee": ["a", "b"], "prob_oa": [0.2, 0.8]})
    table[grades] = [[0.9, 0.1, 0, 0, 0], [0, 0, 0, 0.2, 0.8]]
    other = table.iloc[::-1].assign(prob_oa=[1.0, 0.6])
    other[grades] = [[0, 0, 0, 0, 1], [0.1, 0.9, 0, 0, 0]]
    made = script.averaged([table, other])
    assert made["knee"].tolist() == ["a", "b"]
    assert made[grades].to_numpy() == pytest.approx(np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0.1, 0.9]]))
    assert made["prob_oa"].tolist() == pytest.approx([0.4, 0.9])
    assert made["severity_kl"].tolist() == pytest.approx([0.5, 3.9])
    assert made["pred_oa"].tolist() == [0, 1]
    assert script.averaged([table]) is table
    assert [path.name for path in script.seed_folders(Path("runs"), 2)] == ["seed-0", "seed-1"]


def test_the_covariate_decides_on_grades_as_the_network_does() -> None:
    script, table = load("real_knees"), graded_knees(0, 1.0).assign(fold=np.arange(40) % 4)
    number = pd.Series(table["label_kl"] + np.random.default_rng(0).normal(0, 1, 40))
    made = script.ordinal_regression(table, number.set_axis(table["knee"]))
    p = made[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy(float)
    assert p.sum(axis=1) == pytest.approx(1)
    assert made["pred_kl"].tolist() == script.STRETCHED.decide(p).tolist()
    assert made["pred_kl"].tolist() != p.argmax(axis=1).tolist(), "the rules differ on these"


def graded_knees(seed: int, certainty: float) -> pd.DataFrame:
    """Predictions of forty knees whose probabilities lean to the true grade."""
    generator = np.random.default_rng(seed)
    labels = np.arange(40) % 5
    p = generator.dirichlet(np.ones(5), 40) + certainty * np.eye(5)[labels]
    table = pd.DataFrame({"knee": [f"k{n:02d}" for n in range(40)], "subject": [f"s{n}" for n in range(40)]})
    table[[f"prob_kl_{grade}" for grade in range(5)]] = p / p.sum(axis=1, keepdims=True)
    return table.assign(label_kl=labels, label_oa=(labels >= 2).astype(int))


def test_methods_on_real_knees_are_held_against_the_covariate_and_the_first(tmp_path: Path) -> None:
    script = load("real_methods")
    made = {name: graded_knees(n, c) for n, (name, c) in enumerate({"gap": 0.1, "a": 0.4, "b": 3.0}.items())}
    tables = {name: script.decided(table, script.STRETCHED) for name, table in made.items()}
    found = script.compare(tables, tmp_path)
    pairs = [("gap", "a"), ("gap", "b"), ("a", "b")]
    assert [(row.model_a, row.model_b) for row in found] == [pair for pair in pairs for _ in script.METRICS]
    assert {row.task for row in found} == {"KL"}
    decided = tables["b"]["pred_kl"].to_numpy()
    qwk = next(row for row in found if row.model_b == "b" and row.metric == "qwk")
    ones = np.ones((1, 40))
    assert qwk.b == pytest.approx(float(weighted_qwk(ones, decided, tables["b"]["label_kl"].to_numpy())[0]))
    raw = np.array([row.p_value for row in found])
    assert [row.p_adjusted for row in found] == pytest.approx(adjust_p_values(raw).tolist())
    assert len(rows(tmp_path / "table.csv")) == len(found)
    assert script.difference(qwk).startswith(f"{qwk.difference:+.3f} *")
    assert "*" not in script.difference(replace(qwk, p_adjusted=math.nan))
    text = io.StringIO()
    Console(file=text, width=200).print(script.report(found, tables, 1))
    shown = text.getvalue()
    assert "40 held-out knees of 40 subjects, 1 training a fold" in shown
    assert f"[{qwk.ci_low:+.3f}, {qwk.ci_high:+.3f}]" in shown
    assert script.omitted(pd.DataFrame({"pred_kl": [0, 2, 4, 4]})) == "1, 3"
    assert script.omitted(pd.DataFrame({"pred_kl": [0, 1, 2, 3, 4]})) == "none"


def test_methods_that_cannot_be_run_are_refused_before_any_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, path, manifest = load("real_methods"), tmp_path / "methods.yaml", tmp_path / "knees.csv"
    table = pd.DataFrame({"knee": ["a", "b", "c"], "subject": ["a", "b", "c"], "mri": "a.nii.gz", "kl": 1})
    (tmp_path / "a.nii.gz").touch()
    table.assign(gap_mm=[1.5, None, "?"], side_note="x").to_csv(manifest, index=False)

    def said(content: Any, *words: str) -> str:
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        given = {"--covariate": "gap_mm", "--methods": str(path), "--folder": str(tmp_path / "runs")}
        given |= dict(zip(words[::2], words[1::2], strict=True))
        with pytest.raises(SystemExit) as ended:
            script.main([str(manifest), *(word for pair in given.items() for word in pair)])
        assert not list(tmp_path.glob("runs/seed-*"))
        return f"{capsys.readouterr().err}\n{ended.value}"

    wrong = {"model": {"heads": {"kl": {"class_path": "oahier.UnimodelHead"}}}}
    told = said({"default": {}, "unimodal": wrong})
    assert "Did you mean 'UnimodalHead'?" in told
    assert "methods.yaml: unimodal: class_path 'oahier.UnimodelHead'" in told
    assert "softmax: class_path 'oahier.Median'" in said(
        {"softmax": {"decoding": {"class_path": "oahier.Median"}}}
    )
    assert "softmax: there is no section 'modle'. Did you mean 'model'?" in said({"softmax": {"modle": {}}})
    assert "expected names of methods" in said(["default"])
    assert "another method has the folder 'a-b'" in said({"a, b": {}, "a b": {}})
    assert "has no such column. Did you mean 'gap_mm'?" in said({"a": {}}, "--covariate", "gap")
    assert "has no number in that column" in said({"a": {}}, "--covariate", "side_note")
    (tmp_path / "other" / "seed-0" / "a" / "fold-0").mkdir(parents=True)
    (tmp_path / "other" / "seed-0" / "a" / "fold-0" / "config.yaml").write_text("")
    (tmp_path / "other" / "a.yaml").write_text("data: {balanced: false}\n")
    assert "a.yaml says, which is another; take another --folder" in said(
        {"a": {}}, "--folder", str(tmp_path / "other")
    )


def test_knees_without_a_covariate_are_told_and_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, manifest = load("cross_validate"), tmp_path / "knees.csv"
    table = pd.DataFrame({"knee": ["1", "2", "3"], "subject": ["1", "2", "3"], "mri": "a.nii.gz"})
    (tmp_path / "a.nii.gz").touch()
    table.assign(gap_mm=[1.5, None, "?"]).to_csv(manifest, index=False)
    number = script.read_covariate(manifest, "gap_mm")
    assert number.dropna().to_dict() == {"1": 1.5}
    assert "2 of 3 knees have no gap_mm: trained on and tested, but not compared" in capsys.readouterr().out
    held_out = pd.DataFrame({"knee": ["3", "1", "2"], "label_kl": [1.0, 2.0, None]})
    assert script.measured(held_out, number)["knee"].tolist() == ["1"]


def test_methods_of_real_knees_have_heads_of_five_grades() -> None:
    script = load("real_methods")
    methods = script.read_methods(script.METHODS)
    assert methods[0].name == "default"
    assert not methods[0].config
    heads = [oh.specs.build(one.config["model"]["heads"]["kl"], oh.Head) for one in methods[1:]]
    assert all(head.num_classes == 5 for head in heads)
    assert len({one.folder for one in methods}) == len(methods)


@pytest.mark.slow
def test_methods_on_real_knees_go_on_where_they_stopped(
    small: Path, phantoms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, copy, chosen = load("real_methods"), small / "knees.csv", small / "methods.yaml"
    table = phantoms.table.drop(columns=["split", "cartilage"])
    table["mri"] = [str(phantoms.root / cell) for cell in table["mri"]]
    table.to_csv(copy, index=False)
    every = yaml.safe_load(script.METHODS.read_text())
    chosen.write_text(
        yaml.safe_dump({name: every[name] for name in ("default", "beta labels")}, sort_keys=False)
    )
    words = [str(copy), "--covariate=severity", "--folds=2", f"--folder={small / 'real'}"]
    words += [f"--methods={chosen}", f"--config={EXAMPLES / 'real_knees.yaml'}"]
    words += [*SMALL, "--data.split.val=0"]  # after the file, whose epochs are more
    run_fold, done = script.run_fold, []

    def interrupted(manifest: Path, folder: Path, fold: int, *further: Any) -> pd.DataFrame:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append((folder.name, fold))
        return run_fold(manifest, folder, fold, *further)

    monkeypatch.setattr(script, "run_fold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        script.main(words)
    assert done == [("default", 0), ("beta-labels", 0), ("default", 1)], (
        "all methods of a fold, then the next"
    )
    finished = small / "real" / "seed-0" / "default" / "fold-0" / "metrics.json"
    kept = finished.stat().st_mtime_ns
    monkeypatch.setattr(script, "run_fold", run_fold)
    found = script.main(words)
    assert finished.stat().st_mtime_ns == kept
    assert [(row.model_a, row.model_b) for row in found[::4]] == [
        ("severity", "default"), ("severity", "beta labels"), ("default", "beta labels"),
    ]  # fmt: skip
    assert next(row for row in found if row.metric == "qwk").a > 0.8, "severity is the truth"
    config = yaml.safe_load(
        (small / "real" / "seed-0" / "beta-labels" / "fold-1" / "config.yaml").read_text()
    )
    assert (
        config["model"]["heads"]["kl"]["init_args"]["criterion"]["class_path"] == "oahier.losses.BetaLabels"
    )


@pytest.mark.slow
def test_real_knees_by_their_last_epoch(small: Path, phantoms: Any) -> None:
    """The configuration of the documented figures, with pretrained weights."""
    module, copy, weights = load("real_knees"), small / "knees.csv", small / "phantoms.pt"
    table = phantoms.table.drop(columns=["split", "cartilage"])
    table["mri"] = [str(phantoms.root / cell) for cell in table["mri"]]
    table.to_csv(copy, index=False)
    torch.save(oh.ResNet3D(depth=10, width=8).state_dict(), weights)
    words = [str(copy), "--covariate=severity", "--folds=2", f"--folder={small / 'last'}"]
    options = [f"--config={EXAMPLES / 'real_knees.yaml'}", *SMALL, "--data.split.val=0"]
    callback = [
        "--trainer.callbacks+=oahier.callbacks.PretrainedWeights",
        f"--trainer.callbacks.path={weights}",
    ]
    module.main([*words, *options, *callback])
    for fold in range(2):
        run = small / "last" / f"fold-{fold}"
        assert json.loads((run / "pretrained.json").read_text())["share"] == 1
        assert (run / "checkpoints" / "last.ckpt").is_file()
        assert not (run / "checkpoints" / "best.ckpt").exists()


@pytest.mark.slow
def test_real_knees(small: Path, phantoms: Any) -> None:
    script, copy = load("real_knees"), small / "knees.csv"
    table = phantoms.table.drop(columns=["split", "cartilage"])
    table["mri"] = [str(phantoms.root / cell) for cell in table["mri"]]
    table.to_csv(copy, index=False)
    words = [str(copy), "--covariate=severity", "--folds=2", f"--folder={small / 'real'}", *SMALL]
    found = script.main([*words, "--trainer.logger=false", "--data.batch_size=8"])
    assert {row.metric for row in found} >= {"qwk", "macro_auc", "severe_auc"}
    qwk = next(row for row in found if row.metric == "qwk")
    assert qwk.a > 0.8, "severity is the truth"
    baseline = pd.read_csv(small / "real" / "baseline.csv")
    assert baseline[[f"prob_kl_{grade}" for grade in range(5)]].sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.slow
def test_demo(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    demo = load("demo")
    run = small / "runs" / "demo"
    assert demo.run(run, 16, SMALL) == 0
    for name in (
        "config.yaml",
        "checkpoints/best.ckpt",
        "metrics.json",
        "predictions.csv",
        "embeddings.npz",
        "severity_axis.csv",
        "saliency.csv",
        "learning_curves.csv",
        "log.txt",
    ):
        assert (run / name).is_file(), f"{name} is named in the README"
    pictures = {path.stem for path in (run / "pictures").glob("*.png")}
    assert pictures >= {
        "kl_confusion_matrix",
        "oa_confusion_matrix",
        "kl_reliability",
        "oa_reliability",
        "learning_curves",
        "severity_axis",
        "saliency",
    }
    assert list(run.glob("wandb/offline-run-*")), "Weights & Biases is on, and offline"
    printed = capsys.readouterr().out
    assert "Results on the test split" in printed
    assert "predictions.csv" in printed
    last = printed[printed.index("WHAT WAS TRAINED") :]
    assert len(last.splitlines()) <= 24, "one screen"
    assert "on 16 phantom knees" in last
    qwk = json.loads((run / "metrics.json").read_text())["metrics"]["test/kl/qwk"]
    assert f"KL grade, quadratic weighted kappa   {qwk:.2f}  (" in last
    for name in ("kl_confusion_matrix.png", "severity_axis.png", "saliency.png", "learning_curves.png"):
        assert name in last
        assert (run / "pictures" / name).is_file()
    scan = re.search(r"oahier predict \S+best.ckpt (\S+) --output", last)
    assert scan
    assert Path(scan[1]).is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configuration_is_taken(path: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", f"--config={CONFIG_FOLDER / 'own_data.yaml'}", f"--config={path}"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--data.manifest=knees.csv", "--print_config"])
    assert stopped.value.code in (0, None)
    resolved = yaml.safe_load(capsys.readouterr().out)
    given = yaml.safe_load(path.read_text())["model"]["heads"]
    assert set(resolved["model"]["heads"]) == set(given) == {"oa", "kl"}
    model = oh.HierarchicalClassifier.from_specification(
        {
            **resolved["model"],
            "encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8}},
        }
    )
    for name, head in given.items():
        for argument, value in head.get("init_args", {}).items():
            assert getattr(model.heads[name], argument) == value


def test_head_of_another_module_by_class_path(small: Path, phantoms: Any) -> None:
    more = small / "more.yaml"
    more.write_text(
        yaml.safe_dump({"model": {"heads": {"kl": {"class_path": "custom_head.CumulativeHead"}}}})
    )
    run = small / "runs" / "cumulative"
    config = CONFIG_FOLDER / "own_data.yaml"
    given = [
        f"--data.manifest={phantoms.path}",
        f"--trainer.default_root_dir={run}",
        "--trainer.logger=false",
    ]
    assert main(["fit", f"--config={config}", f"--config={more}", "--trust=custom_head", *given, *SMALL]) == 0
    assert main(["test", f"--config={run / 'config.yaml'}", "--trust=custom_head"]) == 0
    model = oh.HierarchicalClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    assert type(model.heads["kl"]).__name__ == "CumulativeHead"
    header = rows(run / "predictions.csv")[0]
    assert sum(float(header[f"prob_kl_{grade}"]) for grade in range(5)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("plan", sorted((EXAMPLES / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_studies_are_valid(plan: Path) -> None:
    cells = read_plan(plan).cells()
    assert len(cells) == {"definitive": 585}.get(plan.stem, 27)
    for cell in cells[:: len(cells) // 7]:
        resolved = resolve(cell.config, cell.name)
        assert Path(resolved["data"]["manifest"]).is_relative_to(EXAMPLES.parent)


@pytest.mark.slow
def test_noise_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = load("noise_question")
    words = (
        "--folder runs/noise --knees 12 24 --widths 8 --test 40 --shape 12 16 16 --updates 1 --seeds 3"
        " --workers 1"
    )
    folder = tmp_path / "runs" / "noise"
    with pytest.raises(ValueError, match="three seeds or more with every training, got"):
        example.main(example.options([*words.split(), "--runs", "1"]))
    trained = [path.stat().st_mtime_ns for path in (folder / "runs").iterdir()]
    table = example.main(example.options(words.split()))
    assert len(list((folder / "runs").iterdir())) == 3 * 3 * 2 * 3
    assert trained[0] in [path.stat().st_mtime_ns for path in (folder / "runs").iterdir()], "not trained anew"
    assert len(table) == 2 * 3 * 5 * 3 * 2, "pairs, metrics, readers and margins, knees, widths"
    assert table["seeds"].eq(3).all()
    assert ((table["ci_low"] <= table["ci_high"]) | table["ci_low"].isna()).all()
    means = load("noise_tables").pick(table, knees="all", width="all", reader="block-40")
    assert len(means) == 2 * 3, "pairs and metrics"
    levels = ["metric", "single", "knees", "width"]
    wide = table.pivot_table(index=levels, columns="reader", values="difference", dropna=False)
    grown = wide["block-40"] - wide["block-100"]
    np.testing.assert_allclose(wide["noisier"], grown, atol=1e-12)
    mean = wide[["block-100", "block-70", "block-40"]].mean(axis=1)
    np.testing.assert_allclose(wide["all"], mean, atol=1e-12)
    assert (folder / "surface.svg").stat().st_size > 10_000
    assert (folder / "surface.md").read_text().startswith("54 trainings, 3 seeds")
    few, many = (rows(folder / f"block-70_{knees}_1.csv") for knees in (12, 24))
    assert [row["knee"] for row in few] == [row["knee"] for row in many][: 40 + 12]
    tested = [row for row in many if row["split"] == "test"]
    assert len(tested) == 40
    assert all(row["kl"] == row["true_kl"] for row in tested)
    differing = [row for row in many if row["kl"] != row["true_kl"]]
    assert differing
    assert all((int(row["kl"]) >= 2) == (int(row["true_kl"]) >= 2) for row in many)
    perfect = rows(folder / "block-100_24_0.csv")
    assert all(row["kl"] == row["true_kl"] for row in perfect)


def test_sweep_is_taken(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every parameter is an option, and its command is one that we have; the metric is logged."""
    sweep = yaml.safe_load((EXAMPLES / "sweep.yaml").read_text())
    script = (
        sweep["command"][2].replace("exec oahier", "").replace("$WANDB_RUN_ID", "abc").replace('"$@"', "")
    )
    words = [word.strip('"') for word in script.split()]
    words[words.index("own_data.yaml")] = str(CONFIG_FOLDER / "own_data.yaml")
    for name, given in sweep["parameters"].items():
        words.append(f"--{name}={given['values'][-1] if 'values' in given else given['max']}")
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--data.manifest=knees.csv", "--print_config"])
    assert stopped.value.code in (0, None)
    resolved = yaml.safe_load(capsys.readouterr().out)
    highest = sweep["parameters"]["model.optimizer.init_args.lr"]["max"]
    assert resolved["model"]["optimizer"]["init_args"]["lr"] == highest
    assert resolved["trainer"]["default_root_dir"] == "runs/sweep/abc"
    monitors = [item.get("init_args", {}).get("monitor") for item in resolved["trainer"]["callbacks"]]
    assert sweep["metric"]["name"] in monitors
