"""A real grid: three backbones, three supervisions, two seeds; killed at random points, it ends the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import oahier as oh
from oahier.study import read_study

SLICES = {
    "class_path": "torch.nn.Conv2d",
    "init_args": {"in_channels": 4, "out_channels": 8, "kernel_size": 8, "stride": 8},
}
"""In place of ResNet-18, which takes eight times as long as the rest of a cell."""
BACKBONES = {
    "resnet3d": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "group"}},
    "m3t": {
        "class_path": "oahier.M3T",
        "init_args": {"channels": 4, "width": 16, "depth": 1, "heads": 2, "slice_encoder": SLICES},
    },
    "nnmamba": {"class_path": "oahier.NnMamba", "init_args": {"channels": 8, "blocks": 1}},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    oh.make_phantoms(folder / "phantoms", knees=24, shape=(16, 24, 24), progress=False)
    content = {
        "name": "grid",
        "base": {
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
            "model": {
                "encoder": None,
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001}},
            },
            "data": {"manifest": "phantoms/manifest.csv", "shape": [16, 24, 24], "batch_size": 4},
        },
        "grid": {
            "backbone": {name: {"model.encoder": encoder} for name, encoder in BACKBONES.items()},
            "supervision": ["single-oa", "single-kl", "dual"],
            "seed": [0, 1],
        },
        "saliency": ["gradcam"],
        "knees": 2,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def start(*words: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "oahier", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )


def finished(folder: Path) -> int:
    if not (folder / "study.json").is_file():
        return 0
    return sum(cell.state == "finished" for cell in read_study(folder).cells)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_grid_that_is_killed_ends_as_one_that_is_not(plan: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run = start("study", "run", str(plan), "--out", str(whole), log=log)
    assert run.wait() == 0, log.read_text()[-3000:]
    assert finished(whole) == 18

    chance, progress = random.Random(7), []
    while len(progress) < 4:
        run = start("study", "run", str(plan), "--out", str(broken), log=log)
        try:
            run.wait(timeout=chance.uniform(10, 22))
            break
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        progress.append(finished(broken))
    assert len(progress) >= 2, "too fast to be killed"
    assert progress == sorted(progress)
    run = start("study", "run", str(plan), "--out", str(broken), log=log)
    assert run.wait() == 0, log.read_text()[-3000:]
    assert finished(broken) == 18

    for folder in (whole, broken):
        report = start("study", "report", str(folder), log=log)
        assert report.wait() == 0, log.read_text()[-3000:]
    names = sorted(path.name for path in (whole / "tables").iterdir())
    assert names == sorted(path.name for path in (broken / "tables").iterdir())
    assert sum(name.endswith(".csv") for name in names) == 8
    for name in names:
        assert (whole / "tables" / name).read_bytes() == (broken / "tables" / name).read_bytes(), name
    assert (broken / "report" / "index.html").stat().st_size > 100_000
