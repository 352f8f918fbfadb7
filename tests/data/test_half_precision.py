"""Half-precision batches on their way to a device are those of before, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerStatus

import oahier.data.datamodule as module
from oahier.data import KneeMRIDataModule, Manifest, PairedVisits, TorchIOAugmentation, read_manifest
from oahier.data.dataset import in_single_precision, sends_half
from oahier.types import Batch

Make = Callable[..., KneeMRIDataModule]


class Watching(L.LightningModule):
    """Keeps the batches that steps are given, and those that the loader made."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.given: list[Batch] = []
        self.moved: list[torch.dtype] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.given.append({**batch, "mri": batch["mri"].clone()})
        return self.weight.float().square()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.given.append({**batch, "mri": batch["mri"].clone()})

    test_step = validation_step

    def predict_step(self, batch: Batch, batch_idx: int) -> int:
        self.validation_step(batch, batch_idx)
        return batch_idx

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def batches(
    data: L.LightningDataModule, half: bool, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Watching:
    """Every batch of two epochs of a fit, of a test and of a prediction."""
    monkeypatch.setattr(module, "sends_half", lambda trainer: half)
    torch.manual_seed(3)
    model = Watching()

    def arrive(batch: Batch, trainer: L.Trainer | None) -> Any:
        model.moved.append(batch["mri"].dtype)
        return in_single_precision(batch, trainer)

    monkeypatch.setattr(module, "in_single_precision", arrive)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    trainer.predict(model, data)
    return model


def assert_same(one: Watching, other: Watching, dtype: torch.dtype = torch.float32) -> None:
    assert len(one.given) == len(other.given) > 4
    for a, b in zip(one.given, other.given, strict=True):
        assert a.keys() == b.keys()
        assert a["mri"].dtype == b["mri"].dtype == dtype
        assert torch.equal(a["mri"], b["mri"])
        for name in a.keys() & {"cartilage", "affine", "seed"}:
            assert torch.equal(a[name], b[name])
        assert (a["knee"], a["subject"]) == (b["knee"], b["subject"])
        assert all(torch.equal(a["targets"][name], b["targets"][name]) for name in a["targets"])


@pytest.mark.parametrize(("augmentation", "workers"), [("mild", 0), (None, 0), ("torchio", 0), ("mild", 2)])
def test_steps_are_given_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch, augmentation: str | None, workers: int
) -> None:
    chosen = TorchIOAugmentation() if augmentation == "torchio" else augmentation
    found = [
        batches(make(augmentation=chosen, num_workers=workers), half, monkeypatch) for half in (False, True)
    ]
    assert_same(*found)
    assert set(found[0].moved) == {torch.float32}
    training = torch.float32 if augmentation == "torchio" else torch.float16
    assert found[1].moved[0] == training
    assert found[1].moved[-1] == torch.float16


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16-true", torch.bfloat16), ("64-true", torch.float64), ("16-true", torch.float16)],
)
def test_other_precisions_are_given_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch, precision: str, dtype: torch.dtype
) -> None:
    found = [batches(make(), half, monkeypatch, precision=precision) for half in (False, True)]
    assert_same(*found, dtype=dtype)


def test_a_knee_without_a_label_map_has_zeros(
    make: Make, knees: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_manifest(knees).table.copy()
    table.loc[table.index[::3], "cartilage"] = ""
    manifest = Manifest.from_table(table, knees.parent)
    found = [batches(make(manifest), half, monkeypatch) for half in (False, True)]
    assert_same(*found)


def test_pairs_of_visits_are_the_same(make: Make, knees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_manifest(knees).table.assign(side="right")
    table["month"] = (np.arange(len(table)) % 2 * 12).astype(str)
    table["visit"] = table["month"]
    table["split"] = ["train"] * 8 + ["val"] * 6 + ["test"] * 6
    manifest = Manifest.from_table(table, knees.parent)
    found = [
        batches(PairedVisits(make(manifest, stage=None), batch_size=2), half, monkeypatch)
        for half in (False, True)
    ]
    assert_same(*found)
    assert set(found[1].moved) == {torch.float16}
    assert [len(one.moved) for one in found] == [len(one.given) for one in found], "converted once"


def test_only_a_running_trainer_on_another_device_is_sent_half(make: Make) -> None:
    trainer = L.Trainer(accelerator="cpu", logger=False, barebones=True)
    assert not sends_half(None)
    trainer.state.status = TrainerStatus.RUNNING
    assert not sends_half(trainer), "nothing is moved"
    trainer.strategy._root_device = torch.device("meta")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.strategy), "root_device", torch.device("meta"))
        assert sends_half(trainer)
        data = make()
        data.trainer = trainer
        loaders = data.train_dataloader(), data.val_dataloader(), data.predict_dataloader()
        for loader in loaders:
            batch = next(iter(loader))
            assert batch["mri"].dtype == torch.float16
            assert data.on_after_batch_transfer(batch, 0)["mri"].dtype == torch.float32
        for loader in (data.evaluation_dataloader("val"),):
            assert next(iter(loader))["mri"].dtype == torch.float32, "a loop of one's own"
        trainer.state.status = TrainerStatus.FINISHED
        assert next(iter(data.val_dataloader()))["mri"].dtype == torch.float32
    other = {"x": torch.zeros(2)}
    assert in_single_precision(other, None) is other


def test_batches_of_a_transform_stay_float32(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchio as tio

    chosen = {"preprocessing": tio.RescaleIntensity((0, 1000)), "augmentation": None}
    found = [batches(make(**chosen), half, monkeypatch) for half in (False, True)]
    assert_same(*found)
    assert set(found[1].moved) == {torch.float32}
