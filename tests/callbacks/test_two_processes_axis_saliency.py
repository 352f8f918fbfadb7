"""The axis and the saliency table of two processes, whose sampler repeats knees, equal those of one."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from miniature.training import in_processes

SCRIPT = Path(__file__).with_name("two_processes_axis_saliency.py")


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    one, two = in_processes(SCRIPT, tmp_path / "one", 1), in_processes(SCRIPT, tmp_path / "two", 2)
    for folder, knees in ((".", 9), ("validation", 5)):
        for name in ("saliency.csv", "severity_axis.csv"):
            alone, together = (pd.read_csv(run / folder / name) for run in (one, two))
            pd.testing.assert_frame_equal(together, alone, rtol=1e-5, atol=1e-9)
            assert len(alone) == knees + (8 if (folder, name) == ("validation", "severity_axis.csv") else 0)
        pictures = [(run / folder / "pictures" / "saliency.png").read_bytes() for run in (one, two)]
        assert pictures[0] == pictures[1]
        maps = [sorted(path.name for path in (run / folder / "saliency").iterdir()) for run in (one, two)]
        assert maps[0] == maps[1]
        assert len(maps[0]) == knees
    for folder in (".", "validation"):
        alone, together = (json.loads((run / folder / "metrics.json").read_text()) for run in (one, two))
        losses = {name: value for name, value in alone["metrics"].items() if name.endswith("loss")}
        assert len(losses) == 3
        assert all(math.isfinite(value) for value in losses.values())
        values = [
            {name: math.nan if value is None else value for name, value in run["metrics"].items()}
            for run in (together, alone)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-6, nan_ok=True)
    curves = [pd.read_csv(run / "learning_curves.csv") for run in (one, two)]
    pd.testing.assert_frame_equal(curves[0], curves[1].assign(step=curves[0]["step"]), rtol=1e-4, atol=1e-6)
    assert {"train/loss", "train/oa/loss", "train/kl/loss", "val/loss"} <= set(curves[0])
    saliency = pd.read_csv(one / "saliency.csv")
    assert saliency["iou"].isna().sum() >= 1  # the knee without cartilage
    assert saliency["mass_in_other_cartilage"].notna().sum() >= 4
