"""Every script of ``examples`` does what it says; the command line takes every configuration."""

from __future__ import annotations

import csv
import importlib
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import oahier as oh
from oahier.cli import main
from oahier.study import read_plan
from oahier.study.configuration import resolve

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS = sorted((EXAMPLES / "configs").glob("*.yaml"))
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
    assert not (short / "runs/encoder/plain/saliency.csv").is_file(), "an embedding has no grid to explain"


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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configuration_is_taken(path: Path, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", f"--config={EXAMPLES / 'configs' / 'own_data.yaml'}", f"--config={path}"]
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
    config = EXAMPLES / "configs" / "own_data.yaml"
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
    assert len(cells) == 27
    for cell in cells[::4]:
        resolved = resolve(cell.config, cell.name)
        assert Path(resolved["data"]["manifest"]).is_relative_to(EXAMPLES.parent)


@pytest.mark.slow
def test_noise_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = load("noise_question")
    words = "--folder runs/noise --knees 40 --shape 12 16 16 --epochs 1 --seeds 2 --levels 2 --workers 1"
    table = example.main(example.options([*words.split(), "--resamples", "200"]))
    assert len(table) == 2 * 2 * 3
    assert table["seeds"].eq(2).all()
    assert ((table["ci_low"] <= table["ci_high"]) | table["ci_low"].isna()).all()
    assert (tmp_path / "runs" / "noise" / "answer.png").stat().st_size > 10_000
    read = rows(tmp_path / "runs" / "noise" / "phantoms" / "readers-0.7-1.csv")
    tested = sum(row["split"] == "test" for row in read)
    assert tested in (11, 12)  # 30 % of 40 knees
    assert table["n"].eq(tested).all()
    differing = [row for row in read if row["kl"] != row["true_kl"]]
    assert differing
    assert all(row["split"] != "test" for row in differing)
    assert all((int(row["kl"]) >= 2) == (int(row["true_kl"]) >= 2) for row in read)
    perfect = rows(tmp_path / "runs" / "noise" / "phantoms" / "readers-1-0.csv")
    assert all(row["kl"] == row["true_kl"] for row in perfect)
