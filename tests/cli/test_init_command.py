"""``oahier init``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from oahier.cli import main
from oahier.cli.data.plan_command import device_memory, plan_training
from oahier.data import read_manifest
from oahier.study import read_plan
from oahier.study.configuration import resolve


def test_writes_configurations_that_training_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine", "--manifest", "my knees.csv", "--run", "runs/a: b"]) == 0
    assert "oahier fit --config mine/own_data.yaml" in capsys.readouterr().out
    config = yaml.safe_load(Path("mine/own_data.yaml").read_text())
    assert config["data"]["manifest"] == "my knees.csv"
    assert config["trainer"]["default_root_dir"] == "runs/a: b"
    resolve(config, "own_data.yaml")
    change = yaml.safe_load(Path("mine/change.yaml").read_text())
    assert change["data"]["init_args"]["manifest"] == "my knees.csv"
    assert change["trainer"]["default_root_dir"] == "runs/a: b-change"
    assert {"single_oa.yaml", "single_kl.yaml", "demo.yaml"} <= {path.name for path in Path("mine").iterdir()}


def test_a_plan_is_filled_in(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "mine"), "--manifest", str(manifest), "--plan", "--yes"]) == 0
    assert "data plan" not in capsys.readouterr().out
    text = (tmp_path / "mine" / "own_data.yaml").read_text()
    plan = plan_training(read_manifest(manifest), device_memory())
    config = yaml.safe_load(text)
    for section, settings in plan.settings.items():
        for name, value in settings.items():
            assert config[section][name] == value, f"{section}.{name}"
    assert config["data"]["manifest"] == str(manifest)
    assert all(f"# {reason}\n" in text for reason in plan.reasons)
    assert "# all grades equally often" in text, "comments stay"
    resolve(config, "own_data.yaml")
    assert main(["init", str(tmp_path / "other"), "--manifest", "absent.csv", "--plan", "--yes"]) == 2
    assert "absent.csv" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path)]) == 0
    mine = tmp_path / "own_data.yaml"
    mine.write_text("changed: by hand\n")
    assert main(["init", str(tmp_path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert mine.read_text() == "changed: by hand\n"
    assert main(["init", str(tmp_path), "--overwrite"]) == 0
    assert "knees/split.csv" in mine.read_text()


def test_the_plan_of_a_study_is_of_the_same_knees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifests of plans count from the plan's folder; commands that connect are printed with quotes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my knees.csv").write_text("")
    assert main(["init", "mine", "--manifest", "my knees.csv", "--run", "runs/a"]) == 0
    plan = read_plan("mine/study.yaml")
    assert Path(plan.base["data"]["manifest"]).resolve() == tmp_path / "my knees.csv"
    assert len([resolve(cell.config, cell.name) for cell in plan.cells()]) == 9
    printed = capsys.readouterr().out.split("next:\n")[1].splitlines()
    assert [line.partition("#")[0].strip() for line in printed] == [
        "oahier data check 'my knees.csv'", "oahier data plan 'my knees.csv' --out plan.yaml",
        "oahier data cache --config mine/own_data.yaml",
        "oahier fit --config mine/own_data.yaml", "oahier study run mine/study.yaml --out runs/a-study",
    ]  # fmt: skip
    assert main(["init", "other", "--yes"]) == 0
    assert "which is not there yet" in capsys.readouterr().out
