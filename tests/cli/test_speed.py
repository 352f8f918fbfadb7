"""``--speed`` of ``oahier fit``: what a trial chooses is written, and taken by all that follows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from miniature.speeds import layout_wins

from oahier.cli import main

CHOSEN = {"precision": None, "channels_last": True, "compile": False}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real steps whose times are made up: channels_last takes half of eager's; nothing is compiled."""
    layout_wins(monkeypatch)


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


def test_choice_is_written_resumed_and_tested(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pretended: None
) -> None:
    run, named = tmp_path / "run", tmp_path / "named"
    assert main(["fit", f"--config={config}", "--speed=auto"]) == 0
    printed = capsys.readouterr().out
    assert "in turn with eager 32-true" in printed
    assert "speed: channels_last" in printed
    assert yaml.safe_load((run / "config.yaml").read_text())["speed"] == CHOSEN
    assert (run / "speed.json").is_file()

    main(["fit", f"--config={config}", "--speed.channels_last=true", f"--trainer.default_root_dir={named}"])
    assert "tried" not in capsys.readouterr().out
    ours, theirs = (weights(folder / "checkpoints" / "best.ckpt") for folder in (run, named))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())

    resumed = ["fit", f"--config={run / 'config.yaml'}", "--ckpt_path=last", "--trainer.max_epochs=2"]
    assert main(resumed) == 0
    assert "tried" not in capsys.readouterr().out
    assert yaml.safe_load((run / "config.yaml").read_text())["speed"] == CHOSEN
    assert main(["test", f"--config={run / 'config.yaml'}"]) == 0
    assert yaml.safe_load((run / "test.yaml").read_text())["speed"] == CHOSEN

    capsys.readouterr()  # a job that a cluster queues again has the same words as the first time
    queued = ["fit", f"--config={config}", "--speed=auto", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert main(queued) == 0
    printed = capsys.readouterr().out
    assert f"speed: channels_last, as {run / 'speed.json'} has it" in printed
    assert "steps are tried" not in printed
    assert yaml.safe_load((run / "config.yaml").read_text())["speed"] == CHOSEN


def test_without_the_option_nothing_is_tried(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", f"--config={config}"]) == 0
    assert "tried" not in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["speed"] == "none"
    assert not (tmp_path / "run" / "speed.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--speed=fast"],
            "--speed: expected one of 'none', 'auto' or fields such as {channels_last: true}, got 'fast'",
        ),
        (["--speed=[1]"], "'auto' or fields such as {channels_last: true}, got '[1]'"),
        (["--speed.chanels_last=true"], "chanels_last"),
        (["--speed.precision=fp8"], "error: precision: expected one of '32-true', 'bf16-mixed'"),
        (
            ["--speed.precision=bf16-mixed", "--trainer.precision=64-true"],
            "contradicts the trainer's 64-true",
        ),
        (["--speed=auto", "--trainer.precision=64-true"], "expected trainer.precision 32-true"),
    ],
)
def test_wrong_values_are_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    try:
        status = main(["fit", f"--config={config}", *words])
    except SystemExit as ended:
        status = ended.code
    printed = capsys.readouterr().err
    assert status == 2
    assert message in printed
    assert "Traceback" not in printed
