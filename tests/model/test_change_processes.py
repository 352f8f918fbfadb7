"""Two processes that share pairs of visits unevenly give what one gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import oahier as oh
from oahier.data import VisitPairsDataModule


def run(folder: Path, manifest: Path, processes: int) -> Path:
    script = Path(__file__).with_name("two_processes_pairs.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), str(folder), str(manifest), str(processes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    oh.make_phantoms(
        tmp_path / "p", 14, shape=(8, 12, 12), visits=3, rate=0.3, interval=24, seed=2, progress=False
    )
    manifest = tmp_path / "p" / "manifest.csv"
    data = VisitPairsDataModule(manifest, (8, 12, 12), cache=tmp_path / "p" / "c")
    data.prepare_data()
    counts = {split: len(data.dataset(split)) for split in ("val", "test")}
    assert all(count % 2 for count in counts.values()), "an even number would be shared evenly"
    assert data.dataset("train", training=True).knees == 8, "a step is all of them"
    one, two = (run(tmp_path / str(number), manifest, number) for number in (1, 2))
    trained = [torch.load(folder / "weights.pt", weights_only=True) for folder in (one, two)]
    for name, value in trained[0]["after"].items():
        torch.testing.assert_close(trained[1]["after"][name], value, rtol=1e-4, atol=1e-6)
    first = next(iter(trained[0]["before"]))
    assert torch.equal(trained[0]["before"][first], trained[1]["before"][first])
    assert not torch.equal(trained[0]["before"][first], trained[0]["after"][first])
    for folder, split in ((".", "test"), ("validation", "val")):
        alone, together = (json.loads((run / folder / "metrics.json").read_text()) for run in (one, two))
        assert together["knees"] == alone["knees"] == counts[split]
        values = [
            {name: np.nan if value is None else value for name, value in found["metrics"].items()}
            for found in (together, alone)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-6, nan_ok=True)
        assert len(values[0]) > 10
        tables = [pd.read_csv(run / folder / "predictions.csv") for run in (one, two)]
        pd.testing.assert_frame_equal(tables[1], tables[0], rtol=1e-4, atol=1e-6)
        assert len(tables[0]) == counts[split]
        assert tables[0]["knee"].str.contains("-to-").all()
    curves = [pd.read_csv(folder / "learning_curves.csv").drop(columns="step") for folder in (one, two)]
    pd.testing.assert_frame_equal(curves[1], curves[0], rtol=1e-4, atol=1e-6)
