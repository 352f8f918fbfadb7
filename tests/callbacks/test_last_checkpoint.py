"""The last finished epoch, in Python: where training goes on, and that it ends as one that never stopped."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonargparse
import lightning as L
import pytest
import torch

import oahier as oh
from oahier.callbacks import BestCheckpoint, LastCheckpoint, last_checkpoint
from oahier.callbacks.run_log import _LogFile
from oahier.files import hold
from oahier.testing import tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

PLATEAU = functools.partial(
    torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=10.0, factor=0.5
)


class Stopped(RuntimeError):
    """As if the process had ended."""


class Epochs(L.Callback):
    """Keeps which epochs were trained; may stop in the middle of one."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.trained = stop, []

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.log("val/falling", -float(trainer.current_epoch))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.trained.append(trainer.current_epoch)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.current_epoch == self.stop:
            raise Stopped


def fit(folder: Path, *, kind: Any = None, stop: int | None = None, path: Any = None, **options: Any) -> Any:
    """Train a model that draws nothing at random; returns the epochs that were trained, and the model."""
    epochs = Epochs(stop)
    checkpoint = kind() if kind else BestCheckpoint("val/falling")
    options = {"max_epochs": 4, **options}
    schedule = options.pop("lr_scheduler", None)
    trainer = tiny_trainer(folder, callbacks=[epochs, checkpoint], enable_checkpointing=True, **options)
    torch.manual_seed(0)
    model = tiny_model(lr_scheduler=schedule)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout3d):
            module.p = 0.0
    data = tiny_dataloader(tiny_batches(4))
    with contextlib.suppress(Stopped):
        trainer.fit(model, data, data, ckpt_path=path, weights_only=True)
    return epochs.trained, model


def same(left: L.LightningModule, right: L.LightningModule) -> bool:
    first, second = left.state_dict(), right.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", [None, LastCheckpoint])
def test_training_goes_on_from_the_last_finished_epoch(kind: Any, tmp_path: Path) -> None:
    trained, _ = fit(tmp_path, kind=kind, stop=2)
    assert trained == [0, 1, 2]
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    assert torch.load(tmp_path / "checkpoints" / "previous.ckpt", weights_only=True)["epoch"] == 0
    assert (tmp_path / "checkpoints" / "best.ckpt").exists() is (kind is None)
    os.utime(tmp_path / "checkpoints" / "last.ckpt", (0, 0))  # as by a clock that was set back
    trained, model = fit(tmp_path, kind=kind, path="last")
    assert trained == [2, 3]
    assert same(model, fit(tmp_path / "whole", kind=kind)[1])


@pytest.mark.parametrize(
    "options",
    [
        {"val_check_interval": 0.5},
        {"check_val_every_n_epoch": 2},
        {"accumulate_grad_batches": 3},
        {"lr_scheduler": PLATEAU},
        {"lr_scheduler": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)},
    ],
    ids=["mid-epoch validation", "rare validation", "accumulation", "plateau", "steps"],
)
def test_stopped_training_ends_as_a_whole_one(options: dict[str, Any], tmp_path: Path) -> None:
    """Also where validation, and with it the best checkpoint, falls in the middle of an epoch."""
    _, whole = fit(tmp_path / "whole", **options)
    fit(tmp_path / "stopped", stop=2, **options)
    trained, resumed = fit(tmp_path / "stopped", path="last", **options)
    assert trained == [2, 3]
    assert same(resumed, whole)


def test_new_training_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    fit(tmp_path, max_epochs=3)
    best = (folder / "best.ckpt").read_bytes()
    fit(tmp_path, stop=0)
    assert last_checkpoint(tmp_path) is None, "the next resume must not go on with another training"
    assert (folder / "best.ckpt").read_bytes() == best, "until there is another one"
    fit(tmp_path, kind=LastCheckpoint, max_epochs=1)
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"last.ckpt"}


def test_test_results_do_not_stay_beside_other_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = ("metrics.json", "predictions.csv", "severity_axis.csv", "pictures/kl_reliability.png")
    for name in (*results, "pictures/mine.png", "pictures/learning_curves.png", "knees.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    fit(tmp_path, stop=0)
    assert all((tmp_path / name).is_file() for name in results), "no other checkpoint yet"
    fit(tmp_path, max_epochs=2)
    assert "4 test results" in caplog.text
    assert "earlier-1/" in caplog.text
    for name in results:
        assert not (tmp_path / name).exists()
        assert (tmp_path / "earlier-1" / name).read_text() == name
    for name in ("pictures/mine.png", "pictures/learning_curves.png", "knees.csv"):
        assert (tmp_path / name).read_text() == name
    (tmp_path / "metrics.json").touch()
    fit(tmp_path, max_epochs=2, path="last")
    assert (tmp_path / "metrics.json").exists(), "nothing was trained"
    fit(tmp_path, max_epochs=3, path="last")
    assert (tmp_path / "earlier-2" / "metrics.json").exists()


def test_two_trainings_in_one_folder(tmp_path: Path) -> None:
    with hold(tmp_path / "checkpoints" / ".lock"), pytest.raises(ValueError, match="another process trains"):
        fit(tmp_path)
    assert fit(tmp_path, max_epochs=1)[0] == [0]


def test_checkpoint_is_written_beside_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the one before stays whole where it cannot be."""
    fit(tmp_path, max_epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", _full)
    with pytest.raises(OSError, match=r"cannot write .*last\.ckpt: No space left"):
        fit(tmp_path, max_epochs=2, path=last)
    assert last.read_bytes() == before
    assert {path.name for path in last.parent.iterdir()} == {
        ".lock",
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    }


def _full(path: Path, content: Any) -> int:
    with path.open("wb") as file:
        file.write(bytes(content)[: len(content) // 2])
    raise OSError(28, "No space left on device")


def test_log_on_a_full_disk_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = _LogFile(tmp_path / "log.txt")
    record = logging.LogRecord("oahier", logging.INFO, "", 0, "text", None, None)
    for error, said in ((OSError(28, "No space left on device"), False), (ValueError("other"), True)):
        with patch.object(log, "format", side_effect=error):
            log.handle(record)
        assert ("Traceback" in capsys.readouterr().err) is said
    log.close()


def test_a_configuration_that_names_it_keeps_no_further_checkpoint() -> None:
    """Parsers fill in the defaults that they see, also those of Lightning's class."""
    parser = jsonargparse.ArgumentParser()
    parser.add_class_arguments(LastCheckpoint, "kept")
    kept = parser.instantiate_classes(parser.parse_args([])).kept
    assert (kept.save_top_k, kept.filename) == (0, "last")


def test_names_are_public() -> None:
    assert oh.callbacks.LastCheckpoint is LastCheckpoint
