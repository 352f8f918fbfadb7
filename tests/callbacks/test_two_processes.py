"""Two gloo processes, with knees that the distributed sampler repeats, give what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


def _run(folder: Path, processes: int) -> Path:
    script = Path(__file__).with_name("two_processes.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script), str(folder), str(processes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    one, two = _run(tmp_path / "one", 1), _run(tmp_path / "two", 2)
    for folder in (".", "validation"):
        content = [json.loads((run / folder / "metrics.json").read_text()) for run in (one, two)]
        assert content[0]["knees"] == content[1]["knees"] == {".": 21, "validation": 13}[folder]
        values = [
            {name: x for name, x in c["metrics"].items() if not name.endswith("/loss")} for c in content
        ]
        assert {name for name, x in values[0].items() if x is None} == {
            n for n, x in values[1].items() if x is None
        }
        defined = [{name: value for name, value in v.items() if value is not None} for v in values]
        assert len(defined[0]) > 20
        assert defined[1] == pytest.approx(defined[0], rel=1e-6)
        assert content[1]["intervals"].keys() == content[0]["intervals"].keys()

        tables = [pd.read_csv(run / folder / "predictions.csv") for run in (one, two)]
        pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-6)
        with np.load(one / folder / "embeddings.npz") as a, np.load(two / folder / "embeddings.npz") as b:
            assert a["knee"].tolist() == b["knee"].tolist()
            np.testing.assert_allclose(a["embedding"], b["embedding"], rtol=1e-6)
