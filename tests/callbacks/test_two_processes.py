"""Two gloo processes, with knees that the distributed sampler repeats, give what one process gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from miniature.training import in_processes

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    one, two = in_processes(SCRIPT, tmp_path / "one", 1), in_processes(SCRIPT, tmp_path / "two", 2)
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
