"""Frozen encoders: what stays, what starts when, and that a resumed training is the same."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

import oahier as oh
from oahier.callbacks import FrozenEncoder, PretrainedWeights
from oahier.encoders import PretrainedError
from oahier.testing import TinyEncoder, tiny_batches, tiny_dataloader, tiny_model, tiny_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

_ADAM = functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1)


class Watch(L.Callback):
    """The encoder's weights and modes at the end of each epoch."""

    def __init__(self) -> None:
        self.encoders: list[dict[str, Any]] = []
        self.training: list[bool] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.training.append(pl_module.encoder.first[1].training)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        state = pl_module.encoder.state_dict()
        self.encoders.append({name: value.clone() for name, value in state.items()})


def _fit(folder: Path, epochs: int, *callbacks: L.Callback, resume: Path | None = None, **model: Any) -> Any:
    L.seed_everything(2, verbose=False)
    made = tiny_model(optimizer=_ADAM, **model)
    made.encoder.first[3].p = 0.0  # its random numbers are not this test's subject
    data = tiny_dataloader(tiny_batches(2))
    trainer = tiny_trainer(folder, max_epochs=epochs, callbacks=list(callbacks), enable_checkpointing=False)
    trainer.fit(made, data, data, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(folder / "end.ckpt")
    return made


def _same(one: Any, other: Any) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_encoder_waits_and_then_learns(tmp_path: Path) -> None:
    watch = Watch()
    L.seed_everything(2, verbose=False)
    start = tiny_model(optimizer=_ADAM).encoder.state_dict()
    model = _fit(tmp_path, 3, FrozenEncoder(epochs=2), watch)
    assert [_same(one, start) for one in watch.encoders] == [True, True, False]  # running means included
    assert watch.training == [False] * 4 + [True] * 2
    assert all(one.requires_grad for one in model.parameters())
    changed = {
        name for name, value in model.encoder.named_parameters() if not torch.equal(value, start[name])
    }
    assert changed == {name for name, _ in model.encoder.named_parameters()}


def test_frozen_for_good(tmp_path: Path) -> None:
    L.seed_everything(2, verbose=False)
    start = tiny_model(optimizer=_ADAM)
    model = _fit(tmp_path, 2, FrozenEncoder())
    assert _same(model.encoder.state_dict(), start.encoder.state_dict())
    assert not _same(model.heads.state_dict(), start.heads.state_dict())
    assert model.training
    assert model.encoder.first[1].training


@pytest.mark.parametrize("stop", [1, 2])
def test_resumed_training_is_the_same(stop: int, tmp_path: Path) -> None:
    """Interrupted before and after the encoder begins to learn."""
    whole = _fit(tmp_path / "whole", 3, FrozenEncoder(epochs=2), layer_decay=0.5)
    _fit(tmp_path / "part", stop, FrozenEncoder(epochs=2), layer_decay=0.5)
    ckpt = tmp_path / "part" / "end.ckpt"
    resumed = _fit(tmp_path / "rest", 3, FrozenEncoder(epochs=2), resume=ckpt, layer_decay=0.5)
    assert _same(whole.state_dict(), resumed.state_dict())


@pytest.mark.slow
def test_two_processes_agree_and_wait(tmp_path: Path) -> None:
    L.seed_everything(2, verbose=False)
    model = tiny_model(optimizer=_ADAM)
    start = {name: value.clone() for name, value in model.encoder.named_parameters()}
    data = tiny_dataloader(tiny_batches(4))
    trainer = tiny_trainer(
        tmp_path, max_epochs=2, devices=2, strategy="ddp_fork",
        callbacks=[FrozenEncoder(epochs=1), Saved(tmp_path)],
    )  # fmt: skip
    trainer.fit(model, data, data)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for epoch in (0, 1):
        assert _same(first[epoch], second[epoch])
    assert all(torch.equal(value, first[0][name]) for name, value in start.items())
    assert not any(torch.equal(value, first[1][name]) for name, value in start.items())


class Saved(L.Callback):
    """The encoder's parameters after each epoch, by process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found = folder, []  # type: ignore[var-annotated]

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.found.append({name: one.detach().clone() for name, one in pl_module.encoder.named_parameters()})
        torch.save(self.found, self.folder / f"rank{trainer.global_rank}.pt")


def test_no_epochs_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs: expected 1 or more, or null for all, got 0"):
        FrozenEncoder(epochs=0)


def test_training_starts_from_the_file_once(tmp_path: Path) -> None:
    """With a report beside the run; a resumed training needs no file."""
    source = TinyEncoder()
    nn.init.constant_(source.first[0].weight, 0.25)
    path = tmp_path / "weights.pt"
    torch.save({"module." + name: value for name, value in source.state_dict().items()}, path)
    watch = Watch()
    _fit(tmp_path / "run", 1, PretrainedWeights(path), FrozenEncoder(), watch)
    assert _same(watch.encoders[0], source.state_dict())
    report = json.loads((tmp_path / "run" / "pretrained.json").read_text(encoding="utf-8"))
    assert (report["path"], report["prefix"], report["share"]) == ("weights.pt", "module.", 1.0)
    assert len(report["sha256"]) == 64
    path.unlink()
    ckpt = tmp_path / "run" / "end.ckpt"
    _fit(tmp_path / "run", 2, PretrainedWeights(path), FrozenEncoder(), resume=ckpt)
    with pytest.raises(PretrainedError, match="no such file"):
        _fit(tmp_path / "other", 1, PretrainedWeights(path))


def test_layer_decay_groups() -> None:
    """Rates fall by stage, the head has the optimizer's own, no parameter is left out or in two groups."""
    model = tiny_model(optimizer=functools.partial(torch.optim.AdamW, lr=0.1), layer_decay=0.5)
    groups = model.configure_optimizers().param_groups
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("encoder.0", 0.025), ("encoder.1", 0.05), ("heads", 0.1)
    ]  # fmt: skip
    assert groups[0]["params"][0] is model.encoder.first[0].weight
    held = [id(one) for group in groups for one in group["params"]]
    assert sorted(held) == sorted(id(one) for one in model.parameters())
    assert len(set(held)) == len(held)
    assert model.specification["layer_decay"] == 0.5
    assert len(tiny_model().configure_optimizers().param_groups) == 1


@pytest.mark.parametrize(
    "encoder", [oh.NnMamba(channels=8, blocks=1), nn.Sequential(nn.Conv3d(1, 8, 3), nn.ReLU())]
)
def test_layer_decay_of_other_encoders_and_weight_decay(encoder: nn.Module) -> None:
    model = oh.HierarchicalClassifier(
        encoder, {"kl": oh.SoftmaxHead()}, optimizer=_ADAM, layer_decay=0.9,
        lr_scheduler=functools.partial(oh.CosineSchedule, total_steps=10),
    )  # fmt: skip
    groups = model.configure_optimizers()["optimizer"].param_groups
    held = [id(one) for group in groups for one in group["params"]]
    assert sorted(held) == sorted(id(one) for one in model.parameters())
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)  # LearningRateMonitor refuses doubles
    spared = [one for group in groups if not group["weight_decay"] for one in group["params"]]
    assert {id(one) for one in spared} == {
        id(one) for one in model.parameters() if getattr(one, "_no_weight_decay", False)
    }


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_layer_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="layer_decay: expected a factor above 0, at most 1"):
        tiny_model(layer_decay=decay)
