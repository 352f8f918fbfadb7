"""Schedules that follow the length of a training, and what a longer one does to the rate."""

from __future__ import annotations

import functools
import logging
import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning as L
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

import oahier as oh
from oahier.callbacks import LastCheckpoint
from oahier.testing import tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


class Rates(L.Callback):
    """Keeps the rate of every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def rates(folder: Path, epochs: int, schedule: Any, path: str | None = None, **options: Any) -> list[float]:
    """The rates of the steps of a training, four an epoch."""
    kept = Rates()
    callbacks = [kept, LastCheckpoint()]
    trainer = tiny_trainer(
        folder, max_epochs=epochs, callbacks=callbacks, enable_checkpointing=True, **options
    )
    torch.manual_seed(0)
    model = tiny_model(
        optimizer=functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9), lr_scheduler=schedule
    )
    data = tiny_dataloader(tiny_batches(4))
    trainer.fit(model, data, data, ckpt_path=path)
    return kept.rates


def cosine(steps: int) -> list[float]:
    return [0.05 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]


def test_rate_follows_the_length_of_the_training(tmp_path: Path) -> None:
    for epochs in (2, 3):
        found = rates(tmp_path / str(epochs), epochs, oh.CosineSchedule)
        assert found == pytest.approx(cosine(4 * epochs))
    found = rates(tmp_path / "accumulated", 2, oh.CosineSchedule, accumulate_grad_batches=2)
    assert found[::2] == pytest.approx(cosine(4))
    given = rates(tmp_path / "given", 1, functools.partial(oh.CosineSchedule, total_steps=8, final=0.5))
    assert given == pytest.approx([0.05 + rate / 2 for rate in cosine(8)[:4]])


def test_warm_up() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    schedule = oh.CosineSchedule(optimizer, warmup=0.4, total_steps=10)
    found = []
    for _ in range(10):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert found[4:] == pytest.approx([1 + math.cos(math.pi * step / 6) for step in range(6)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


@pytest.mark.parametrize("schedule", [oh.CosineSchedule, functools.partial(oh.CosineSchedule, warmup=0.5)])
def test_resumed_rates_are_the_same(schedule: Any, tmp_path: Path) -> None:
    whole = rates(tmp_path / "whole", 4, schedule)
    with patch.object(Rates, "on_train_epoch_start", _stop_in_the_third, create=True), pytest.raises(Stopped):
        rates(tmp_path, 4, schedule)
    assert rates(tmp_path, 4, schedule, path="last") == whole[8:]


class Stopped(RuntimeError):
    """As if the process had ended."""


def _stop_in_the_third(_: Any, trainer: L.Trainer, *__: Any) -> None:
    if trainer.current_epoch == 2:
        raise Stopped


@pytest.mark.parametrize(
    ("schedule", "longer", "rises"),
    [
        (oh.CosineSchedule, 4, True),
        (oh.CosineSchedule, 2, False),
        (functools.partial(CosineAnnealingLR, T_max=2), 4, True),
        (functools.partial(StepLR, step_size=1), 4, False),
        (None, 4, False),
    ],
)
def test_rise_after_a_resume_is_said(
    schedule: Any, longer: int, rises: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rates(tmp_path, 2, schedule)
    with caplog.at_level(logging.WARNING, logger="oahier"):
        resumed = rates(tmp_path, longer, schedule, path="last")
    assert ("the learning rate rises again" in caplog.text) is rises
    assert ("with 4 epochs instead of 2" in caplog.text) is rises
    if schedule is oh.CosineSchedule and resumed:
        assert resumed == pytest.approx(cosine(16)[8:])
    if schedule is not None and schedule is not oh.CosineSchedule and rises:
        assert resumed[4] == pytest.approx(0.05), "looking ahead changes nothing"


def test_steps_go_on_counting_after_a_resume() -> None:
    schedules = [
        oh.CosineSchedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), total_steps=9) for _ in range(2)
    ]
    for _ in range(4):
        schedules[0].optimizer.step()
        schedules[0].step()
    schedules[1].load_state_dict(schedules[0].state_dict())
    assert schedules[1]._step_count == schedules[0]._step_count == 5
    assert schedules[1].get_last_lr() == schedules[0].get_last_lr()


@pytest.mark.parametrize(("longer", "rises"), [(5, False), (7, True)])
def test_a_rise_after_the_end_is_not_looked_for(
    longer: int, rises: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rate is multiplied after five epochs: not in a training of five, but in one of seven."""
    schedule = functools.partial(StepLR, step_size=5, gamma=4.0)
    rates(tmp_path, 2, schedule)
    with caplog.at_level(logging.WARNING, logger="oahier"):
        rates(tmp_path, longer, schedule, path="last")
    assert ("rises again" in caplog.text) is rises


def test_refused_arguments(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with pytest.raises(ValueError, match=r"warmup=1\.0\): expected a share"):
        oh.CosineSchedule(optimizer, warmup=1.0)
    with pytest.raises(ValueError, match=r"final=2\.0\): expected a share"):
        oh.CosineSchedule(optimizer, final=2.0)
    with pytest.raises(ValueError, match=r"expected a training that ends, got 0"):
        oh.CosineSchedule(optimizer, total_steps=0)
    with pytest.raises(ValueError, match=r"expected a training that ends, got inf.*max_epochs"):
        rates(tmp_path, -1, oh.CosineSchedule, max_time="00:00:01:00")


def test_serial_form() -> None:
    made = tiny_model(lr_scheduler=functools.partial(oh.CosineSchedule, warmup=0.1))
    stated = made.specification["lr_scheduler"]
    assert stated == {"class_path": "oahier.CosineSchedule", "init_args": {"warmup": 0.1}}
    again = oh.HierarchicalClassifier.from_specification({**made.specification, "lr_scheduler": stated})
    assert again.configure_optimizers()["lr_scheduler"]["scheduler"].warmup == 0.1
