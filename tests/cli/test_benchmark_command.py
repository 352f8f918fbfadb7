"""What ``oahier benchmark`` measures and writes; no time is asserted."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from oahier.cli import main, stopwatch
from oahier.cli.benchmark import row_of
from oahier.cli.stopwatch import Stopwatch
from oahier.data import KneeMRIDataModule


def test_a_run_of_a_configuration_is_measured(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "mine.json"
    assert main(["benchmark", "--config", str(config), "--steps", "2", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    seconds = result["seconds"]
    assert all(math.isfinite(value) and value >= 0 for value in seconds.values())
    parts = sum(seconds[name] for name in ("waiting", "augmentation", "forward", "backward", "optimizer"))
    share = seconds["waiting"] / parts
    assert result["share_waiting"] == pytest.approx(share)
    assert seconds["epoch_without_data"] == pytest.approx(seconds["epoch"] * (1 - share))
    assert result["run"] | {"precision": ""} == {
        "configuration": ["config.yaml"], "training_knees": 10, "shape": [12, 12, 12], "batch_size": 4,
        "encoder": "ResNet3D", "parameters": result["run"]["parameters"], "precision": "", "steps": 2,
    }  # fmt: skip
    assert result["machine"]["device"] == "cpu"
    said = capsys.readouterr().out
    bound = "is bound by data" if result["bound_by_data"] else "is not bound by data"
    assert bound in said
    assert row_of(result) in said
    assert str(tmp_path) not in json.dumps(result), "no path of the machine"
    assert not (tmp_path / "run").exists(), "the run's folder is left alone"


@pytest.mark.slow
def test_without_a_configuration_phantoms_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "--steps", "1"]) == 0
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["run"]["training_knees"] == 14
    assert result["run"]["configuration"] == ["phantoms"]
    assert "an epoch without data" in capsys.readouterr().out


def test_seconds_go_to_what_they_were_spent_on(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = KneeMRIDataModule(manifest, shape=(12, 12, 12), cache=tmp_path)
    clock = [0.0]
    monkeypatch.setattr(stopwatch, "synchronised", lambda device: clock[0])

    def augment(batch: Any, dataloader_idx: int) -> Any:
        clock[0] += 5
        return batch

    monkeypatch.setattr(data, "on_after_batch_transfer", augment)
    watch = Stopwatch(data)
    trainer, nobody = L.Trainer(accelerator="cpu", barebones=True), L.LightningModule()
    watch.setup(trainer, nobody, "fit")
    watch.on_train_epoch_start()
    for _, knees in itertools.product(range(2), (2, 4)):
        clock[0] += 3
        batch = data.on_after_batch_transfer({"knee": ["a"] * knees}, 0)
        watch.on_train_batch_start(trainer, nobody, batch, 0)
        clock[0] += 10
        watch.on_before_backward()
        clock[0] += 20
        watch.on_after_backward()
        clock[0] += 1
        watch.on_train_batch_end()
    assert watch.means() == {
        "waiting": 3, "augmentation": 5, "forward": 10, "backward": 20, "optimizer": 1, "knees": 3
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "0"], "--steps: expected 1 or more, got 0"),
        (["--out", "b.csv"], "--out: expected a file that ends in .json, got b.csv"),
        (["--config", "nothing.yaml"], "--config nothing.yaml: cannot be read"),
    ],
)
def test_wrong_options_end_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
