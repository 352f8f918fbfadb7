from __future__ import annotations

import functools
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.tuner import Tuner

import oahier as oh
from oahier.testing import tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rate_of_the_factory_is_shown_and_set() -> None:
    model = tiny_model(optimizer=functools.partial(torch.optim.SGD, lr=0.5, momentum=0.9))
    assert model.lr == 0.5
    model.lr = 0.25
    group = model.configure_optimizers().param_groups[0]
    assert (model.lr, group["lr"], group["momentum"]) == (0.25, 0.25, 0.9)
    assert model.specification["optimizer"]["init_args"] == {"lr": 0.25, "momentum": 0.9}
    again = oh.HierarchicalClassifier.from_specification(model.specification)
    assert again.configure_optimizers().param_groups[0]["lr"] == 0.25
    assert tiny_model().lr == 1e-3  # torch's default of AdamW


def test_a_function_without_a_rate_is_named() -> None:
    model = tiny_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    assert model.lr is None
    with pytest.raises(ValueError, match="lr: the optimizer is made by a function without an argument lr"):
        model.lr = 0.5


def test_tuner_finds_the_rate_and_training_uses_it(tmp_path: Path) -> None:
    L.seed_everything(1, verbose=False)
    model = tiny_model(("kl",), optimizer=functools.partial(torch.optim.SGD, lr=0.123))
    data = tiny_dataloader(tiny_batches(6))
    trainer = tiny_trainer(tmp_path, enable_checkpointing=True, max_epochs=20)
    finder = Tuner(trainer).lr_find(model, data, data, num_training=40, early_stop_threshold=None)
    assert finder is not None
    assert model.lr == finder.suggestion()
    assert model.lr != 0.123
    trainer = tiny_trainer(tmp_path / "fit")
    trainer.fit(model, data, data)
    assert trainer.optimizers[0].param_groups[0]["lr"] == model.lr
