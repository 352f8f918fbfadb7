"""Where training goes on, from the command line: the last finished epoch, and nothing stale beside it."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml

from oahier.callbacks import last_checkpoint
from oahier.cli import main
from oahier.interrupts import Terminated, ended_by_sigterm, interruption

pytestmark = pytest.mark.usefixtures("one_thread")


class Falling(L.Callback):
    """Logs a value by which the first epoch is the best."""

    def on_validation_epoch_end(self, trainer, pl_module):
        self.log("val/falling", -float(trainer.current_epoch))


class Stop(L.Callback):
    """Stops a training in the middle of an epoch."""

    def __init__(self, epoch: int, by: str = "ctrl-c") -> None:
        self.epoch, self.by = epoch, by

    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            if self.by == "sigterm":
                signal.raise_signal(signal.SIGTERM)
            raise {"ctrl-c": KeyboardInterrupt(), "disk": OSError(28, "No space left on device")}[self.by]


def stop(epoch: int, by: str = "ctrl-c") -> list[str]:
    words = {"": "stopping.Stop", ".epoch": epoch, ".by": by}
    return [f"--trainer.callbacks{'' if key else '+'}{key}={value}" for key, value in words.items()]


@pytest.fixture
def config(config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "stopping", sys.modules[Stop.__module__])
    monkeypatch.setenv("OAHIER_TRUST", f"stopping,{Stop.__module__}")
    settings = yaml.safe_load(config.read_text())
    best, *others = settings["trainer"]["callbacks"]
    best["init_args"] = {"monitor": "val/falling", "mode": "max"}
    settings["trainer"]["callbacks"] = [{"class_path": "stopping.Falling"}, best, *others]
    config.write_text(yaml.safe_dump(settings))
    return config


@pytest.fixture
def run(config: Path, tmp_path: Path) -> Path:
    return tmp_path / "run"


def content(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def epoch(run: Path, name: str = "last") -> int:
    return int(content(run / "checkpoints" / f"{name}.ckpt")["epoch"])


def same(left: Path, right: Path) -> bool:
    first, second = content(left)["state_dict"], content(right)["state_dict"]
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("by", ["ctrl-c", "sigterm"])
def test_interrupted_training_goes_on_from_its_last_epoch(
    config: Path, run: Path, by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first epoch is best; the third is the last that was finished."""
    ended = main(["fit", f"--config={config}", "--trainer.max_epochs=5", *stop(3, by)])
    assert ended == {"ctrl-c": 130, "sigterm": 143}[by]
    said = capsys.readouterr().err
    command = f"oahier fit --config {run / 'config.yaml'} --ckpt_path last"
    assert command in said
    assert "Traceback" not in said
    assert [epoch(run, name) for name in ("best", "previous", "last")] == [0, 1, 2]
    if by == "sigterm":
        return

    whole = ["--trainer.max_epochs=5", f"--trainer.default_root_dir={tmp_path / 'whole'}"]
    assert main(["fit", f"--config={config}", *whole]) == 0
    assert [epoch(tmp_path / "whole", name) for name in ("best", "previous", "last")] == [0, 3, 4]
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["trainer"]["callbacks"] = [
        callback for callback in settings["trainer"]["callbacks"] if "Stop" not in callback["class_path"]
    ]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert main(command.split()[1:]) == 0
    assert [epoch(run, name) for name in ("best", "previous", "last")] == [0, 3, 4]
    assert same(run / "checkpoints" / "last.ckpt", tmp_path / "whole" / "checkpoints" / "last.ckpt")
    log = (run / "log.txt").read_text()
    assert [log.count(f"epoch {number} of 5") for number in (1, 2, 3, 4, 5)] == [1, 1, 1, 1, 1]


def test_resume_is_a_record_and_no_default(config: Path, run: Path) -> None:
    assert main(["fit", f"--config={config}", "--trainer.max_epochs=2"]) == 0
    last = run / "checkpoints" / "last.ckpt"
    more = [f"--config={run / 'config.yaml'}", "--trainer.max_epochs=3"]
    assert main(["fit", *more, f"--ckpt_path={last}"]) == 0
    text = (run / "config.yaml").read_text()
    assert f"# resumed from {last}, after 2 epochs" in text
    assert yaml.safe_load(text)["ckpt_path"] is None

    assert main(["test", f"--config={run / 'config.yaml'}"]) == 0
    predicted = (run / "predictions.csv").read_bytes()
    best = run / "checkpoints" / "best.ckpt"
    assert main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={best}"]) == 0
    assert (run / "predictions.csv").read_bytes() == predicted
    assert main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={last}"]) == 0
    assert (run / "predictions.csv").read_bytes() != predicted
    # as the version before wrote it
    (run / "config.yaml").write_text(text.replace("ckpt_path: null", f"ckpt_path: {last}"))
    for command in ("validate", "test"):
        assert main([command, f"--config={run / 'config.yaml'}"]) == 0
    assert (run / "predictions.csv").read_bytes() == predicted


def test_folder_of_a_run_is_not_taken_for_another(
    config: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", f"--config={config}", "--trainer.max_epochs=1"]
    assert main(words) == 0
    assert main(["test", f"--config={run / 'config.yaml'}"]) == 0
    (run / "notes.txt").write_text("mine")
    before = (run / "checkpoints" / "best.ckpt").read_bytes()
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    for way in (str(run), "--ckpt_path last", "--overwrite", "--trainer.default_root_dir"):
        assert way in said
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == before

    assert main([*words, "--overwrite", "--seed_everything=5"]) == 0
    assert (run / "checkpoints" / "best.ckpt").read_bytes() != before
    assert not {"metrics.json", "predictions.csv", "test.yaml"} & {path.name for path in run.iterdir()}
    assert (run / "earlier-1" / "predictions.csv").is_file()
    assert (run / "notes.txt").read_text() == "mine"
    assert "overwrite" not in yaml.safe_load((run / "config.yaml").read_text())
    assert not (run / "checkpoints" / "previous.ckpt").exists()


def test_queued_job_is_one_command(config: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--ckpt_path last`` starts what has not started; a job that SLURM queued again needs no option."""
    words = ["fit", f"--config={config}", "--trainer.max_epochs=1"]
    assert main([*words, "--ckpt_path=last"]) == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main([*words[:2], "--trainer.max_epochs=2"]) == 0
    assert epoch(run) == 1
    assert (run / "log.txt").read_text().count("epoch 1 of") == 1


def test_damaged_checkpoints(config: Path, run: Path, capsys: pytest.CaptureFixture[str], caplog) -> None:
    words = ["fit", f"--config={config}", "--trainer.max_epochs=2"]
    assert main(words) == 0
    folder = run / "checkpoints"
    last, previous = folder / "last.ckpt", folder / "previous.ckpt"
    whole = last.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", whole[:9999] + b"\0" * 99 + whole[10098:]):
        last.write_bytes(damaged)
        caplog.clear()
        assert last_checkpoint(run) == previous
        assert str(last) in caplog.text
    last.write_bytes(whole[:-100])
    more = ["fit", f"--config={config}", "--trainer.max_epochs=3"]
    assert main([*more, f"--ckpt_path={last}"]) == 0
    assert epoch(run) == 2
    assert "after 1 epochs" in (run / "config.yaml").read_text()

    last.unlink()
    assert last_checkpoint(run) == previous
    last.write_bytes(b"")
    previous.write_bytes(b"PK")
    capsys.readouterr()
    for words in ([*more, "--ckpt_path=last"], ["test", f"--config={config}", f"--ckpt_path={last}"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert str(last) in said
        assert "damaged" in said
        assert said.count("\n") == 1
    shutil.rmtree(folder)
    assert last_checkpoint(run) is None


def test_full_disk_is_one_line(config: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", f"--config={config}", "--trainer.max_epochs=3", *stop(1, "disk")]) == 2
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if "error" in line] == [
        "oahier: error: No space left on device"
    ]
    assert "Traceback" not in said
    assert last_checkpoint(run) == run / "checkpoints" / "last.ckpt"
    assert epoch(run) == 0


def test_sigterm_is_heard_everywhere() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


class Unclean(L.Callback):
    """Asks the process to end, and fails on what the training left half done."""

    def on_train_batch_start(self, *_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    def on_exception(self, *_: object) -> None:
        raise RuntimeError("a file that is half written")


def test_error_on_the_way_out_is_no_failure(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", f"--config={config}", "--trainer.callbacks+=stopping.Unclean"]) == 143
    said = capsys.readouterr().err
    assert "stopped by SIGTERM" in said
    assert "Traceback" not in said


def test_error_made_of_a_request_is_told_from_others() -> None:
    with ended_by_sigterm():
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
        assert isinstance(interruption(ImportError("what C code makes of it")), Terminated)
    assert interruption(ValueError("of the work")) is None
