"""One Weights & Biases run of a training, with the real SDK, offline."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from miniature.wandb_records import content

from oahier.cli import main

pytest.importorskip("wandb")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_resumed_training_is_one_run(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    settings = yaml.safe_load(config.read_text())
    settings["trainer"]["logger"] = {
        "class_path": "lightning.pytorch.loggers.WandbLogger",
        "init_args": {"project": "oahier", "save_dir": str(run), "offline": True},
    }
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", f"--config={config}"]) == 0
    kept = (run / "wandb-id.txt").read_text().strip()
    words = [f"--config={run / 'config.yaml'}", "--trainer.max_epochs=2"]
    assert main(["fit", *words, "--ckpt_path=last"]) == 0
    # offline-run-DATE_TIME-ID, with -1 behind it where both trainings began within one second
    runs = [path.name for path in (run / "wandb").glob("offline-run-*")]
    assert [name.split("-")[3] for name in runs] == [kept] * 2
    assert kept not in (run / "config.yaml").read_text(), "another training is another run"
    assert main(["fit", *words, "--overwrite"]) == 0
    assert (run / "wandb-id.txt").read_text().strip() != kept


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_run_has_the_precision_that_a_later_callback_sets(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``WandbRun`` is set up before ``SpeedSetting`` where a configuration names it."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = yaml.safe_load(config.read_text())
    settings["trainer"]["logger"] = {
        "class_path": "lightning.pytorch.loggers.WandbLogger",
        "init_args": {"project": "oahier", "save_dir": str(tmp_path), "offline": True},
    }
    wandb = {"class_path": "oahier.callbacks.WandbRun", "init_args": {"artifacts": False, "thumbnails": 0}}
    settings["trainer"]["callbacks"].insert(0, wandb)
    config.write_text(yaml.safe_dump(settings))
    speed = "--speed.precision=bf16-mixed"
    assert main(["fit", f"--config={config}", speed]) == 0
    assert main(["test", f"--config={tmp_path / 'run' / 'config.yaml'}"]) == 0
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.parent.name)
    fit, test = (content(path)["config"] for path in files)
    assert fit["trainer"]["precision"] == "bf16-mixed"
    assert test["test"]["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_what_a_run_shows_and_what_not(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and test are one run; data, rates, tables, intervals and files are in it, names are not."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("sys.argv", ["oahier", "fit", "--data.manifest=/secret/Qxz0001Wvk.csv"])
    run = tmp_path / "run"
    settings = yaml.safe_load(config.read_text())
    settings["trainer"]["logger"] = {
        "class_path": "lightning.pytorch.loggers.WandbLogger",
        "init_args": {"project": "oahier", "save_dir": str(run), "offline": True},
    }
    settings["trainer"]["callbacks"].append({"class_path": "oahier.OrdinalMetrics"})
    config.write_text(yaml.safe_dump(settings))
    assert main(["fit", f"--config={config}"]) == 0
    assert main(["test", f"--config={run / 'config.yaml'}"]) == 0
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.parent.name)
    kept = (run / "wandb-id.txt").read_text().strip()
    assert [path.stem for path in files] == [f"run-{kept}"] * 2
    fit, test = map(content, files)

    manifest = Path(settings["data"]["manifest"])
    assert fit["config"]["data"]["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert fit["config"]["data"]["preprocessing"]["shape"] == settings["data"]["shape"]
    assert fit["config"]["data"]["splits"]["train"]["knees"] > 1
    assert fit["config"]["seed"] == settings.get("seed_everything", 0)
    assert fit["config"]["trainer"]["max_epochs"] == settings["trainer"]["max_epochs"]
    assert fit["config"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert fit["config"]["encoder"]
    assert all(rate > 0 for rate in fit["history"]["lr"])
    assert fit["artifacts"] == {"model": ["best.ckpt"]}
    assert test["artifacts"]["predictions"] == ["predictions.csv"]

    (table,) = (json.loads(path.read_text()) for path in run.rglob("*predictions*.table.json"))
    predictions = pd.read_csv(run / "predictions.csv")
    assert table["columns"] == ["row", "slice", *predictions.columns.drop(["knee", "subject"])]
    assert len(table["data"]) == len(predictions)
    slices = {path for path in test["artifacts"]["run_table"] if path.endswith(".png")}
    assert len(slices) == len(predictions)
    metrics = json.loads((run / "metrics.json").read_text())
    known = {key: bounds for key, bounds in metrics["intervals"].items() if bounds[0] is not None}
    assert known
    for key, (low, high) in known.items():
        assert (test["summary"][f"{key}_low"], test["summary"][f"{key}_high"]) == (low, high)

    names = {"Qxz0001Wvk", str(manifest)}
    knees = pd.read_csv(manifest, dtype=str)
    names |= {one for column in ("knee", "mri") for one in knees[column]}
    sent = [path for folder in (run / "wandb", tmp_path / "WANDB_DATA_DIR") for path in folder.rglob("*")]
    sent = [path for path in sent if path.is_file() and path.suffix != ".log"]
    assert any(path.suffix == ".ckpt" or path.stat().st_size > 10_000 for path in sent)
    leaks = {path.name: [one for one in names if one.encode() in path.read_bytes()] for path in sent}
    assert {name: found for name, found in leaks.items() if found} == {}
