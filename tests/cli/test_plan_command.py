"""Proposals for a training from headers and memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from torch import nn

from oahier.cli import main
from oahier.cli.data.plan_command import bytes_a_voxel, plan_training
from oahier.data import read_manifest
from oahier.study.configuration import resolve


def test_bytes_are_those_of_the_layers() -> None:
    """Four channels in full, then eight at an eighth of the voxels, in 4 bytes each."""
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 8, 2, stride=2))
    assert bytes_a_voxel(network, side=8) == 4 * (4 + 8 / 8)


def test_volumes_fill_the_field_of_view_within_the_memory(manifest: Path) -> None:
    knees = read_manifest(manifest)
    plans = [plan_training(knees, memory) for memory in (0.004, 16.0)]
    for plan, memory in zip(plans, (0.004, 16.0), strict=True):
        data = plan.settings["data"]
        np.testing.assert_allclose(np.multiply(data["shape"], data["spacing"]), [24, 28, 24], rtol=0.01)
        assert all(count % 16 == 0 for count in data["shape"])
        assert f"of {memory:.0f} GB" in plan.reasons[1]
        assert plan.steps == plan.settings["trainer"]["max_epochs"] * max(1, 10 // data["batch_size"])
    assert plans[0].settings["data"]["batch_size"] < plans[1].settings["data"]["batch_size"]
    assert plans[1].settings["model"]["encoder"]["init_args"]["depth"] == 10, "few training knees"


def test_the_plan_is_laid_over_a_configuration(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.yaml"
    words = ["data", "plan", str(manifest), "--memory", "1", "--out", str(out), "--measure", "1"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "20 knees" not in printed, "only the training knees count"
    assert "10 knees: median field of view 24 x 28 x 24 mm" in printed
    assert "h of training here" in printed
    made = yaml.safe_load(out.read_text())
    assert out.read_text().startswith("# 10 knees")
    base = yaml.safe_load((Path(__file__).parents[2] / "oahier/configs/own_data.yaml").read_text())
    base["data"] |= made["data"] | {"manifest": str(manifest)}
    base["model"] |= made["model"]
    base["trainer"] |= made["trainer"]
    resolve(base, "plan")
    assert main(["data", "plan", str(manifest), "--memory", "0"]) == 2
